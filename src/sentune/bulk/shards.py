"""Shards of output: their names, how they are written, how many rows they have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Protocol

import numpy as np

from sentune._lazy import need
from sentune.bulk.storage import Storage
from sentune.data.corpus import Document
from sentune.errors import OutputError, SentuneError

FORMATS = ("parquet", "npy")
EMBEDDING = "embedding"


class Shard(Protocol):
    """A shard that is being written."""

    def put(self, documents: Sequence[Document], embeddings: np.ndarray) -> None:
        """Add rows."""


def name_of(number: int, form: str) -> str:
    """The file of a shard of output that is written last."""
    return f"shard-{number:05d}.{form}"


def errors_of(number: int) -> str:
    """The file with the texts of a shard that could not be encoded, if there are any."""
    return f"shard-{number:05d}.errors.jsonl"


def rows_of(number: int) -> str:
    """The file with ids, texts and metadata of a shard of format npy."""
    return f"shard-{number:05d}.rows.parquet"


def files_of(number: int, form: str) -> tuple[str, ...]:
    """The files of a shard of output, which are all there if and only if the shard is whole."""
    return (name_of(number, form), *([rows_of(number)] if form == "npy" else ()))


def schema_of(metadata: Any, dtype: np.dtype[Any], width: int) -> Any:
    """The `pyarrow.Schema` of a shard: id, text, the columns of metadata in order, embedding."""
    pa = need("pyarrow", extra="bulk")
    fields = [pa.field("id", pa.string()), pa.field("text", pa.string())]
    taken = {"id", "text", EMBEDDING, *metadata.names}
    for field in metadata:
        name = field.name
        while name in ("id", "text", EMBEDDING) or (name != field.name and name in taken):
            name = f"metadata_{name}"
        taken.add(name)
        fields.append(field.with_name(name).with_nullable(True).remove_metadata())
    vector = pa.list_(pa.field("element", pa.from_numpy_dtype(dtype), nullable=False), width)
    return pa.schema([*fields, pa.field(EMBEDDING, vector)])


@contextmanager
def writing(storage: Storage, number: int, form: str, schema: Any, about: str) -> Iterator[Shard]:
    """A shard to add rows to, which is there when the block ends without an error.

    Args:
        storage: Where to.
        number: Of the shard.
        form: "parquet", or "npy", which has another file for all but the embeddings.
        schema: Of the rows.
        about: A line of JSON to keep with them.
    """
    name = name_of(number, form)
    if form == "parquet":
        with storage.writing(name) as file, _parquet(file, schema, about) as table:
            yield table
        return
    field = schema.field(EMBEDDING)
    rest = schema.remove(schema.get_field_index(EMBEDDING))
    # The array last: once it is there, the other file is.
    with storage.writing(name) as file:
        array = _Array(file, field.type.value_type.to_pandas_dtype(), field.type.list_size)
        with storage.writing(rows_of(number)) as beside, _parquet(beside, rest, about) as table:
            yield _Pair(array, table)
        array.close()


def write_errors(storage: Storage, number: int, problems: Sequence[tuple[str, str]]) -> None:
    """Write the ids of texts that could not be encoded, with the reasons, if there are any."""
    if problems:
        with storage.writing(errors_of(number)) as file:
            for name, why in problems:
                line = json.dumps({"id": name, "problem": why}, ensure_ascii=False)
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")


def count_rows(storage: Storage, number: int, form: str) -> int:
    """How many rows a shard of output has.

    Raises:
        OutputError: If it cannot be read.
    """
    name = name_of(number, form)
    try:
        return _rows_in(storage, name, form)
    except (ValueError, OSError) as error:
        if isinstance(error, SentuneError):
            raise
        raise OutputError(
            f"{storage.shown}/{name} cannot be read: it is damaged; delete it, and start the same "
            "command again, which makes it anew"
        ) from error


def _rows_in(storage: Storage, name: str, form: str) -> int:
    with storage.reading(name) as file:
        if form == "parquet":
            return int(need("pyarrow.parquet", extra="bulk").read_metadata(file).num_rows)
        version = np.lib.format.read_magic(file)
        read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        return int(read(file)[0][0])


class _Table:
    """Rows of a Parquet file."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema

    def put(self, documents: Sequence[Document], embeddings: np.ndarray) -> None:
        """Add a group of rows."""
        pa = need("pyarrow", extra="bulk")
        # Metadata is in the order of the corpus's schema, and so are the columns.
        metadata = zip(*(one.metadata.values() for one in documents), strict=True)
        cells = [[one.id for one in documents], [one.text for one in documents], *metadata]
        columns = [
            pa.array(values, field.type) for values, field in zip(cells, self._schema, strict=False)
        ]
        if len(columns) < len(self._schema):
            flat = pa.array(np.ascontiguousarray(embeddings).reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=self._schema[-1].type))
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))


@contextmanager
def _parquet(file: IO[bytes], schema: Any, about: str) -> Iterator[_Table]:
    pq = need("pyarrow.parquet", extra="bulk")
    names = [field.name for field in schema if field.name != EMBEDDING]
    if EMBEDDING in schema.names and schema.field(EMBEDDING).type.value_type.bit_width == 8:
        names.append(f"{EMBEDDING}.list.element")  # Parquet would take 32 bits for each number
    writer = pq.ParquetWriter(
        file,
        schema.with_metadata({"sentune": about}),
        compression="zstd",
        use_dictionary=names,
        write_statistics=["id"],
    )
    try:
        yield _Table(writer, schema)
        writer.close()
    finally:
        writer.is_open = False  # after an error, nothing is written when it is collected


class _Array:
    """Rows of a .npy file, of which there may be fewer than expected."""

    def __init__(self, file: IO[bytes], dtype: Any, width: int) -> None:
        self._file, self._dtype, self._width = file, np.dtype(dtype), width
        self._rows = 0
        self._head()

    def put(self, embeddings: np.ndarray) -> None:
        """Add rows."""
        self._file.write(np.ascontiguousarray(embeddings, dtype=self._dtype).tobytes())
        self._rows += len(embeddings)

    def close(self) -> None:
        """Write how many there are."""
        self._file.seek(0)
        self._head()
        self._file.seek(0, 2)

    def _head(self) -> None:
        # numpy leaves room in the header for any number of rows.
        about = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, self._width),
        }
        np.lib.format.write_array_header_1_0(self._file, about)


class _Pair:
    """An array, and a table of all else."""

    def __init__(self, array: _Array, table: _Table) -> None:
        self._array, self._table = array, table

    def put(self, documents: Sequence[Document], embeddings: np.ndarray) -> None:
        """Add rows to both."""
        self._array.put(embeddings)
        self._table.put(documents, embeddings)
