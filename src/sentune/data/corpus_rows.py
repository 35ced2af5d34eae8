"""The rows of one file of a corpus, one after the other, in bounded memory.

A row that cannot be read, in a file that can, is given with the reason in place of its values.
"""

from __future__ import annotations

import csv
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any, NamedTuple

from sentune._lazy import need
from sentune.data import raw
from sentune.data.corpus_files import FORMATS, File, opened, seekable
from sentune.errors import DatasetError

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_LONGEST_CELL = 16 << 20  # characters of a cell of a csv file
_BATCH = 1024  # rows of a Parquet file that are decoded at a time


class Row(NamedTuple):
    """One row.

    Attributes:
        values: By column; None if the row cannot be read.
        problem: Why not, or None.
        offset: Byte at which it starts in the decompressed file; None if it cannot be read from.
    """

    values: dict[str, Any] | None
    problem: str | None = None
    offset: int | None = None


def rows(
    file: File, start: int = 0, offset: int | None = None, columns: Sequence[str] | None = None
) -> Iterator[Row]:
    """The rows from number `start` on.

    Args:
        file: One of the known formats.
        start: Number of the first row to give.
        offset: Where that row starts, if it is known.
        columns: Only these, where the format lets others be left out.

    Raises:
        DatasetError: If the file cannot be read.
    """
    kind = FORMATS[file.ending]
    with _reported(file):
        if kind in _TABLES:
            yield from _TABLES[kind](file, start, columns)
            return
        read = _whole if kind == "json" and not _is_lines(file) else _LINES[kind]
        left = start if offset is None else 0
        yield from islice(read(file, offset or 0), left, None)


def document(file: File) -> Row:
    """A whole file as one row with the column "text"."""
    with _reported(file), opened(file) as stream:
        content = stream.read()
    if not content.strip():
        return Row(None, "the file is empty")
    try:
        _check_encoding(content, file)
        return Row({"text": content.removeprefix(_BOM).decode("utf-8")})
    except (UnicodeDecodeError, DatasetError) as error:
        return Row(None, _not_utf8(error))


def columns_of(file: File) -> Any | None:
    """The `pyarrow.Schema` of a file that has one, None if its values must be looked at."""
    kind = FORMATS[file.ending]
    if kind not in _TABLES:
        return None
    with _reported(file), _table(file, kind) as (schema, _):
        return schema


def count_of(file: File) -> int:
    """How many rows a file with a schema has."""
    kind = FORMATS[file.ending]
    with _reported(file), _table(file, kind) as (_, table):
        if kind == "parquet":
            return int(table.metadata.num_rows)
        return sum(batch.num_rows for batch in table)


# Text ---------------------------------------------------------------------------------------------


def _text_lines(file: File, offset: int) -> Iterator[Row]:
    for raw_line, place, _ in _raw_lines(file, offset):
        try:
            yield Row({"text": raw_line.rstrip(b"\r\n").decode("utf-8")}, None, place)
        except UnicodeDecodeError as error:
            yield Row(None, _not_utf8(error), place)


def _json_lines(file: File, offset: int) -> Iterator[Row]:
    for raw_line, place, _ in _raw_lines(file, offset):
        if not raw_line.isspace():
            yield _json_row(raw_line, place)


def _json_row(raw_line: bytes, place: int) -> Row:
    try:
        values = json.loads(raw_line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row(None, _not_utf8(error), place)
    except ValueError as error:
        return Row(None, f"the line is not JSON: {error}", place)
    return _checked(values, place, has_escapes=b"\\u" in raw_line)


def _checked(values: Any, place: int | None, *, has_escapes: bool) -> Row:
    """A row of JSON, if it is one that can be written again."""
    if not isinstance(values, dict):
        return Row(None, f"the row is not a JSON object but {_shown(values)}", place)
    if has_escapes:
        try:
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return Row(None, "a text in it has half of a character (a lone surrogate)", place)
    return Row(values, None, place)


def _whole(file: File, offset: int) -> Iterator[Row]:
    """A json file that is one array of objects, or one object of columns."""
    with opened(file) as stream:
        found = json.load(stream)
    if isinstance(found, dict) and found and all(isinstance(v, list) for v in found.values()):
        lengths = {name: len(cells) for name, cells in found.items()}
        if len(set(lengths.values())) > 1:
            raise DatasetError(f"the columns must be equally long, got {lengths}")
        found = [
            dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)
        ]
    for values in found if isinstance(found, list) else [found]:
        yield _checked(values, None, has_escapes=True)


def _is_lines(file: File) -> bool:
    """Whether a json file has an object on each line."""
    first = next((line for line, _, _ in _raw_lines(file, 0) if not line.isspace()), b"")
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _csv(file: File, offset: int) -> Iterator[Row]:
    names, separator, first = _head(file)
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    lines = _Decoded(_raw_lines(file, offset or first), offset or first)
    place = lines.end
    for cells in csv.reader(lines, delimiter=separator):
        problem, lines.problem = lines.problem, None
        if lines.is_over:  # the reader looked for more of the row
            problem = problem or "a quote is opened and not closed until the end of the file"
        if cells:
            yield _csv_row(names, cells, problem, place)
        place = lines.end


def _csv_row(names: list[str], cells: list[str], problem: str | None, place: int) -> Row:
    if problem is None and len(cells) > len(names):
        problem = f"the row has {len(cells)} cells, more than the {len(names)} columns of the head"
    if problem is not None:
        return Row(None, problem, place)
    cells += [""] * (len(names) - len(cells))
    return Row({n: cell or None for n, cell in zip(names, cells, strict=True) if n}, None, place)


def _head(file: File) -> tuple[list[str], str, int]:
    """The names of the columns of a csv file, its separator, and where its rows start."""
    usual = "\t" if file.ending == ".tsv" else ","
    shown = islice(_raw_lines(file, 0), raw.LOOKED_AT)
    first = [line.decode("utf-8", "replace") for line, _, _ in shown]
    separator = raw.separator_of(first, usual) if first else usual
    lines = _Decoded(_raw_lines(file, 0), 0)
    names = next((cells for cells in csv.reader(lines, delimiter=separator) if cells), [])
    if lines.problem:
        raise DatasetError(f"{file.name} cannot be read: its head is {lines.problem}")
    numbered = [name if name not in names[:n] else f"{name}.{n}" for n, name in enumerate(names)]
    return numbered, separator, lines.end


class _Decoded:
    """Lines as text for `csv.reader`, with where they end and what was wrong with them."""

    def __init__(self, lines: Iterator[tuple[bytes, int, int]], start: int) -> None:
        self._lines = lines
        self.end = start
        self.problem: str | None = None
        self.is_over = False

    def __iter__(self) -> _Decoded:
        return self

    def __next__(self) -> str:
        try:
            line, _, self.end = next(self._lines)
        except StopIteration:
            self.is_over = True
            raise
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.problem = self.problem or _not_utf8(error)
            return line.decode("utf-8", "replace")


def _raw_lines(file: File, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """Lines as bytes with their ends, and the bytes at which each starts and ends in the file."""
    with opened(file, offset) as stream:
        place = offset
        for line in stream:
            end = place + len(line)
            if not place:
                _check_encoding(line, file)
                line = line.removeprefix(_BOM)
            yield line, place, end
            place = end


def _check_encoding(start: bytes, file: File) -> None:
    if name := _OTHER_BOMS.get(start[:2]):
        raise DatasetError(
            f"{file.name} cannot be read: it is in {name}, not UTF-8; convert it with "
            f"`iconv -f {name} -t UTF-8`"
        )


def _not_utf8(error: Exception) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}"


def _shown(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."


_LINES: dict[str, Callable[[File, int], Iterator[Row]]] = {
    "txt": _text_lines,
    "jsonl": _json_lines,
    "json": _json_lines,
    "csv": _csv,
}


# Arrow --------------------------------------------------------------------------------------------


def _parquet(file: File, start: int, columns: Sequence[str] | None) -> Iterator[Row]:
    with _table(file, "parquet") as (schema, table):
        groups: list[int] = []  # the first one holds row `start`
        before = 0  # rows until it
        for number in range(table.num_row_groups):
            size = table.metadata.row_group(number).num_rows
            if not groups and start >= before + size:
                before += size
            else:
                groups.append(number)
        names = [name for name in schema.names if columns is None or name in columns]
        batches = table.iter_batches(_BATCH, row_groups=groups, columns=names, use_threads=False)
        yield from _of_batches(batches, start - before)


def _arrow(file: File, start: int, columns: Sequence[str] | None) -> Iterator[Row]:
    with _table(file, "arrow") as (schema, table):
        names = [name for name in schema.names if columns is None or name in columns]
        yield from _of_batches((batch.select(names) for batch in table), start)


def _of_batches(batches: Any, skipped: int) -> Iterator[Row]:
    for batch in batches:
        if skipped >= batch.num_rows:
            skipped -= batch.num_rows
            continue
        for first in range(skipped, batch.num_rows, _BATCH):
            for values in batch.slice(first, _BATCH).to_pylist():
                yield Row(values)
        skipped = 0


@contextmanager
def _table(file: File, kind: str) -> Iterator[tuple[Any, Any]]:
    """The schema of a file of Arrow's kind, without the index of pandas, and a reader."""
    pa = need("pyarrow", extra="bulk")
    with seekable(file) as stream:
        if kind == "parquet":
            table = need("pyarrow.parquet", extra="bulk").ParquetFile(stream)
            schema: Any = table.schema_arrow
        else:
            table = _batches(pa, stream)
            schema = table.schema
        index = [name for name in schema.names if name.startswith("__index_level_")]
        names = [name for name in schema.names if name not in index]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DatasetError(
                f"{file.name} has several columns of the name {twice!r}; rename all but one"
            )
        yield pa.schema([schema.field(name) for name in names]), table


def _batches(pa: Any, stream: IO[bytes]) -> Any:
    """The batches of an Arrow file in either form."""
    if stream.read(6) == b"ARROW1":
        stream.seek(0)
        return _FileBatches(pa.ipc.open_file(stream))
    stream.seek(0)
    return pa.ipc.open_stream(stream)


class _FileBatches:
    """The batches of a file with an index at its end, one after the other, as of a stream."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.schema = reader.schema

    def __iter__(self) -> Iterator[Any]:
        return map(self._reader.get_batch, range(self._reader.num_record_batches))


_TABLES: dict[str, Callable[..., Iterator[Row]]] = {"parquet": _parquet, "arrow": _arrow}


@contextmanager
def _reported(file: File) -> Iterator[None]:
    """Errors of the readers as one of a dataset."""
    try:
        yield
    except DatasetError:
        raise
    except (OSError, EOFError, ValueError, csv.Error, lzma.LZMAError, zlib.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{file.name} cannot be read: {reason}") from error
