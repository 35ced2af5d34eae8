"""The lines of a text file as bytes, and what is said of a row that is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sentune.data.corpus_files import File, opened
from sentune.errors import DatasetError

BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class Row(NamedTuple):
    """One row.

    Attributes:
        values: By column; None if the row cannot be read.
        problem: Why not, or None.
        offset: Byte at which it starts in the decompressed file; None if it cannot be read from.
        line: Number of its first line, from 1; None if that is not known.
        raw: How it is written, if it cannot be read.
    """

    values: dict[str, Any] | None
    problem: str | None = None
    offset: int | None = None
    line: int | None = None
    raw: str = ""


class How(NamedTuple):
    """How text files are read, where they do not say it themselves.

    Attributes:
        names: Of the columns of a csv file without a head.
        separator: Of the cells of a csv file; None if it is to be detected.
        field: Of a JSON file, what has the rows.
        is_table: Whether all columns are wanted, also those without a name.
    """

    names: Sequence[str] | None = None
    separator: str | None = None
    field: str | None = None
    is_table: bool = False


def raw_lines(file: File, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """Lines as bytes with their ends, and the bytes at which each starts and ends in the file."""
    with opened(file, offset) as stream:
        place = offset
        for line in stream:
            end = place + len(line)
            if not place:
                check_encoding(line, file)
                line = line.removeprefix(BOM)
            yield line, place, end
            place = end


def check_encoding(start: bytes, file: File) -> None:
    """Refuse the start of a file in another encoding than UTF-8."""
    if name := _OTHER_BOMS.get(start[:2]):
        raise DatasetError(
            f"{file.name} cannot be read: it is in {name}, not UTF-8; convert it with "
            f"`iconv -f {name} -t UTF-8`"
        )


def not_decoded(error: UnicodeDecodeError, file: File) -> str:
    """What is wrong with bytes that are no text."""
    if file.encoding:
        return f"not {file.encoding}: a character at {error.start} cannot be decoded"
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}"


def shown_line(line: bytes) -> str:
    """A line as text, whatever is in it."""
    return line.decode("utf-8", "backslashreplace").rstrip("\r\n")
