"""Files -> a spool of rows: in blocks where a file is as it should be, else row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sentune._lazy import need
from sentune.data import encodings
from sentune.data.blocks import csv_blocks, json_blocks
from sentune.data.choice import near
from sentune.data.corpus_files import File
from sentune.data.corpus_rows import batches_of, is_text, reported, rows, with_encoding
from sentune.data.csv_rows import head_of
from sentune.data.lines import How
from sentune.data.raw import FORMATS
from sentune.data.sources import OtherColumnsError
from sentune.data.spool import BadRows, Spool, names_of
from sentune.errors import DatasetError

_PORTION = 5_000  # rows at a time
_OTHERWISE = "say encoding=NAME (--encoding NAME)"


class Wishes(NamedTuple):
    """What is wanted of files, where they do not say it themselves.

    Attributes:
        how: How text files are read.
        encoding: Of text files; None if it is to be detected.
        columns: Those that every file must have; None if all files must have the same.
    """

    how: How
    encoding: str | None
    columns: Sequence[str] | None


def fill(spool: Spool, files: Sequence[File], wishes: Wishes, bad: BadRows) -> list[str]:
    """Read the rows of files into a spool.

    Returns:
        What a person should know of how they were read, as sentences.

    Raises:
        DatasetError: If a file cannot be read, or has other columns than those before it.
    """
    notes: list[str] = []
    first: tuple[str, list[str]] | None = None
    for file in files:
        mark = spool.mark()
        names, unit = _one(spool, file, wishes, bad, notes)
        spool.end_part(file.name, unit, mark)
        if names:
            _check_columns(file.name, names, first, wishes.columns)
            first = first or (file.name, names)
    return notes


def _one(
    spool: Spool, file: File, wishes: Wishes, bad: BadRows, notes: list[str]
) -> tuple[list[str], str]:
    """Read one file; the names of its columns, and what its rows are counted in."""
    kind = FORMATS[file.ending]
    if not is_text(file):
        return _table(spool, file), "row"
    asked = None if wishes.encoding is None else encodings.checked(wishes.encoding)
    file, found = with_encoding(file, notes, _OTHERWISE, asked)
    if kind == "jsonl" and _in_blocks(spool, json_blocks(file, wishes.how), 0, found.lines):
        return spool.names_of_last(), "line"
    if kind != "csv":
        return _row_by_row(spool, file, wishes.how, bad)
    with reported(file):
        head = head_of(file, wishes.how)
    if not head.lines and not wishes.how.names:
        notes.append(
            f"the first line of {file.name} has a number, so it is read as a row; the columns are "
            f"called {', '.join(head.names)}"
        )
    if head.lines > 1 or not _in_blocks(spool, csv_blocks(file, head), head.lines, found.lines):
        _row_by_row(spool, file, wishes.how, bad)
    return head.names, "line"


def _in_blocks(spool: Spool, blocks: Iterator[Any], before: int, lines: int | None) -> bool:
    """Read a file of which each line is a row, after some lines; False if it is another one."""
    if not lines:  # not known, or none
        return False
    mark, at = spool.mark(), before + 1
    try:
        for batch in blocks:
            spool.add_batch(batch, at)
            at += batch.num_rows
    except need("pyarrow", extra="train").ArrowInvalid:  # the other reader says which row it is
        at = -1
    if at != lines + 1:
        spool.back_to(mark)
    return at == lines + 1


def _row_by_row(spool: Spool, file: File, how: How, bad: BadRows) -> tuple[list[str], str]:
    portion: list[dict[str, Any]] = []
    numbers: list[int] = []
    names: dict[str, None] = {}
    unit = "line"

    def flush() -> None:
        names.update(dict.fromkeys(names_of(portion)))
        spool.add_rows(portion, numbers)
        portion.clear()
        numbers.clear()

    for number, row in enumerate(rows(file, how=how)):
        unit = "row" if row.line is None else "line"
        place = number if row.line is None else row.line
        if row.values is None:
            bad.add(file.name, f"{unit} {place}", str(row.problem), row.raw)
            continue
        portion.append(row.values)
        numbers.append(place)
        if len(portion) == _PORTION:
            flush()
    if portion:
        flush()
    return list(names), unit


def _table(spool: Spool, file: File) -> list[str]:
    """Read a Parquet or Arrow file."""
    names: list[str] = []
    at = 0
    with reported(file):
        for batch in batches_of(file):
            names = names or batch.schema.names
            spool.add_batch(batch, at)
            at += batch.num_rows
    return names


def _check_columns(
    name: str,
    names: list[str],
    first: tuple[str, list[str]] | None,
    wanted: Sequence[str] | None,
) -> None:
    """Refuse files of which one has other columns than another."""
    if wanted is not None:
        missing = [one for one in wanted if one not in names]
        if missing:
            raise DatasetError(f"{name} has no column {missing[0]!r}{near(missing[0], names)}")
    elif first is not None and set(names) != set(first[1]):
        raise OtherColumnsError(
            f"{name} has the columns {', '.join(names)}, and {first[0]} has "
            f"{', '.join(first[1])}; read them one by one, or choose columns that all have"
        )
