"""The rows of one file of a corpus, one after the other, in bounded memory.

A row that cannot be read, in a file that can, is given with the reason in place of its values.
"""

from __future__ import annotations

import csv
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from sentune._lazy import need
from sentune.data.corpus_files import File, opened, seekable
from sentune.data.corpus_types import has_large, settled
from sentune.data.encodings import Look, look
from sentune.data.lines import BOM, How, Row, not_decoded
from sentune.data.raw import FORMATS
from sentune.data.text_rows import text_rows
from sentune.errors import DatasetError

_BATCH = 1024  # rows of a Parquet file that are decoded at a time


def rows(
    file: File,
    start: int = 0,
    offset: int | None = None,
    columns: Sequence[str] | None = None,
    how: How | None = None,
) -> Iterator[Row]:
    """The rows from number `start` on.

    Args:
        file: One of the known formats.
        start: Number of the first row to give.
        offset: Where that row starts, if it is known.
        columns: Only these, where the format lets others be left out.
        how: How text files are read.

    Raises:
        DatasetError: If the file cannot be read.
    """
    kind = FORMATS[file.ending]
    with reported(file):
        if kind in _TABLES:
            yield from _TABLES[kind](file, start, columns)
            return
        left = start if offset is None else 0
        yield from islice(text_rows(file, kind, how or How(), offset or 0), left, None)


def is_text(file: File) -> bool:
    """Whether a file of one of the known formats is in characters, so that it has an encoding."""
    return FORMATS[file.ending] not in _TABLES


def with_encoding(
    file: File, notes: list[str], otherwise: str, asked: str | None = None
) -> tuple[File, Look]:
    """A text file with the encoding that it is in, or with the one that is asked for.

    A guess is added to the notes, with what to do if it is wrong.
    """
    with reported(file), opened(file) as stream:
        found = look(stream, asked)
    if found.is_guessed:
        notes.append(
            f"{file.name} is not UTF-8 and read as {found.encoding}; if letters are wrong, "
            f"{otherwise}"
        )
    return file._replace(encoding=found.encoding, has_old_ends=found.has_old_ends), found


def document(file: File) -> Row:
    """A whole file as one row with the column "text"."""
    content = b""
    if file.size:  # else it may be no file of its compression
        with reported(file), opened(file) as stream:
            content = stream.read()
    if not content.strip():
        return Row(None, "the file is empty")
    encoding = look(io.BytesIO(content)).encoding
    try:
        return Row({"text": content.removeprefix(BOM).decode(encoding or "utf-8")})
    except UnicodeDecodeError as error:
        return Row(None, not_decoded(error, file._replace(encoding=encoding)))


def columns_of(file: File) -> Any | None:
    """The `pyarrow.Schema` of a file that has one, None if its values must be looked at."""
    kind = FORMATS[file.ending]
    if kind not in _TABLES:
        return None
    with reported(file), _table(file, kind) as (schema, _):
        return schema


def count_of(file: File) -> int:
    """How many rows a file with a schema has."""
    kind = FORMATS[file.ending]
    with reported(file), _table(file, kind) as (_, table):
        if kind == "parquet":
            return int(table.metadata.num_rows)
        return sum(batch.num_rows for batch in table)


def holds_large(file: File, name: str) -> bool:
    """Whether a column of a file with a schema has an integer that a float does not hold."""
    pa = need("pyarrow", extra="bulk")
    kind = FORMATS[file.ending]
    with reported(file), _table(file, kind) as (schema, table):
        place = schema.get_field_index(name)
        if place < 0 or not pa.types.is_integer(schema.field(place).type):
            return False
        if kind == "parquet":
            table = table.iter_batches(_BATCH, columns=[name], use_threads=False)
        return any(has_large(batch.column(name)) for batch in table)


def batches_of(file: File) -> Iterator[Any]:
    """The rows of a file with a schema as `pyarrow.RecordBatch`es, their texts of one type.

    Raises:
        DatasetError: If the file cannot be read.
    """
    pa = need("pyarrow", extra="bulk")
    kind = FORMATS[file.ending]
    with reported(file), _table(file, kind) as (schema, table):
        plain = [field.with_type(_plain(pa, field.type)) for field in schema]
        wanted = pa.schema(plain, schema.metadata)
        names = schema.names
        if kind == "parquet":
            batches = table.iter_batches(_BATCH, columns=names)
        else:
            batches = (batch.select(names) for batch in table)
        for batch in batches:
            arrays = [batch.column(field.name).cast(field.type) for field in wanted]
            yield pa.record_batch(arrays, schema=wanted)


def _plain(pa: Any, kind: Any) -> Any:
    types = pa.types
    is_other_text = types.is_large_string(kind) or types.is_string_view(kind)
    is_plain = not (is_other_text or types.is_dictionary(kind) or types.is_null(kind))
    return kind if is_plain else settled(kind)


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
        yield pa.schema([schema.field(name) for name in names], schema.metadata), table


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
def reported(file: File) -> Iterator[None]:
    """Errors of the readers as one of a dataset."""
    try:
        yield
    except DatasetError:
        raise
    except (OSError, EOFError, ValueError, csv.Error, lzma.LZMAError, zlib.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{file.name} cannot be read: {reason}") from error
