"""Rows of files on their way into one Arrow table: kept on disk, whatever their number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from sentune._lazy import need
from sentune.data.corpus_types import Types, array_of, fitting
from sentune.errors import DatasetError

BAD_ROWS = "bad.jsonl"
_SHOWN = 2_000  # characters of a bad row in an error or a file


def _classes_of(schema: Any) -> dict[str, list[str]]:
    """What the `datasets` library has written of classes into a file."""
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return {}
    features = json.loads(written).get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
    }


def names_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The columns of rows, of which most have the same ones."""
    names: dict[str, Any] = {}
    for row in rows:
        if row.keys() != names.keys():
            names.update(row)
    return list(names)


class Part(NamedTuple):
    """Rows of one file, one after the other.

    Attributes:
        name: Of the file.
        unit: What its rows are counted in: "line", from 1, or "row", from 0.
        rows: How many.
    """

    name: str
    unit: str
    rows: int


class Mark(NamedTuple):
    """A place in a spool to go back to."""

    segments: int
    end: int
    numbers: int


class BadRows:
    """Rows that are left out: they are counted and written to a file, or are an error.

    Attributes:
        count: How many there are.
        first: The first one, in words.
    """

    def __init__(self, folder: Path, *, is_skipping: bool) -> None:
        self._path, self.is_skipping = folder / BAD_ROWS, is_skipping
        self._file: IO[str] | None = None
        self.count, self.first = 0, ""

    def add(self, name: str, place: str, reason: str, raw: str) -> None:
        """Take note of a row.

        Raises:
            DatasetError: If rows are not skipped.
        """
        where = f"{name}, {place}"
        if not self.is_skipping:
            raise DatasetError(
                f"{where}: {reason}; mend it, or leave out such rows with skip_bad_rows=True "
                "(--skip-bad-rows)"
            )
        if self._file is None:
            self._file = open(self._path, "w", encoding="utf-8")
        unit, number = place.rsplit(" ", 1)
        row = {"file": name, unit: int(number), "reason": reason, "raw": raw[:_SHOWN]}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.count += 1
        self.first = self.first or f"{where}: {reason}"

    def close(self) -> None:
        """Write what is left."""
        if self._file is not None:
            self._file.close()


class Spool:
    """A table that grows, in files of which each has columns of one type.

    Attributes:
        parts: The files its rows are of.
        types: Of its columns.
        classes: Of columns with classes the words for them, as the `datasets` library has written
            them into a file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._writer: Any = None
        self._schema: Any = None
        self._numbers: Any = open(folder / "numbers.bin", "w+b")
        self.parts: list[Part] = []
        self.types = Types()
        self.classes: dict[str, list[str]] = {}

    def add_rows(self, rows: Sequence[dict[str, Any]], numbers: Sequence[int]) -> None:
        """Append rows, with the number of each in its file."""
        pa = need("pyarrow", extra="train")
        cells = {name: [row.get(name) for row in rows] for name in self._names(rows)}
        found = {name: array_of(values) for name, values in cells.items()}
        for name, array in found.items():
            self.types.add(name, pa.string() if array is None else array.type)
        schema = self.types.schema()
        columns = []
        for field in schema:
            array = found[field.name]
            if array is None or array.type != field.type:
                array = pa.array(map(fitting(field.type), cells[field.name]), field.type)
            columns.append(array)
        self._write(pa.record_batch(columns, schema=schema), np.asarray(numbers, dtype=np.int64))

    def add_batch(self, batch: Any, first: int) -> None:
        """Append a `pyarrow.RecordBatch`, whose rows are counted from `first` on."""
        for field in batch.schema:
            self.types.add(field.name, field.type)
        for name, words in _classes_of(batch.schema).items():
            if self.classes.setdefault(name, words) != words:
                raise DatasetError(
                    f"the files have different classes in column {name!r}: {', '.join(words)}, and "
                    f"{', '.join(self.classes[name])}; read them one by one"
                )
        self._write(batch, np.arange(first, first + batch.num_rows, dtype=np.int64))

    def end_part(self, name: str, unit: str, mark: Mark) -> None:
        """Take note that what came since is of one file."""
        bytes_of_part = self._numbers.tell() - mark.numbers
        self.parts.append(Part(name, unit, bytes_of_part // np.dtype(np.int64).itemsize))

    def mark(self) -> Mark:
        """This place."""
        end = self._file.tell() if self._file is not None else 0
        return Mark(len(self._paths), end, self._numbers.tell())

    def back_to(self, mark: Mark) -> None:
        """Forget what came since."""
        self._numbers.seek(mark.numbers)
        self._numbers.truncate()
        if len(self._paths) == mark.segments:
            if self._file is not None:
                self._file.seek(mark.end)
                self._file.truncate()
            return
        self._close()
        for path in self._paths[mark.segments :]:
            path.unlink()
        del self._paths[mark.segments :]

    def numbers(self) -> np.ndarray:
        """Of each row its number in its file, mapped into memory."""
        self._numbers.flush()
        return np.memmap(self._numbers.name, dtype=np.int64, mode="r")

    def table(self) -> Any:
        """The whole as a `pyarrow.Table`, mapped into memory."""
        pa = need("pyarrow", extra="train")
        self._close()
        schema = self.types.schema()
        tables = [pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in self._paths]
        return pa.concat_tables([_as(pa, table, schema) for table in tables])

    def names_of_last(self) -> list[str]:
        """The columns of what came last."""
        return list(self._schema.names)

    def remove(self) -> None:
        """Delete its files."""
        self._close()
        self._numbers.close()
        Path(self._numbers.name).unlink()
        for path in self._paths:
            path.unlink()

    def _names(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """The columns until now and those of the rows."""
        return list(dict.fromkeys([*self.types.names(), *names_of(rows)]))

    def _write(self, batch: Any, numbers: np.ndarray) -> None:
        if self._writer is None or not self._schema.equals(batch.schema):
            self._close()
            path = self._folder / f"spool-{len(self._paths)}.arrow"
            self._paths.append(path)
            self._file, self._schema = open(path, "wb"), batch.schema
            self._writer = need("pyarrow", extra="train").ipc.new_stream(self._file, batch.schema)
        self._writer.write_batch(batch)
        self._numbers.write(numbers.tobytes())

    def _close(self) -> None:
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.close()
        self._writer = self._file = None


def _as(pa: Any, table: Any, schema: Any) -> Any:
    """The table with the columns of a schema; those that it does not have are empty."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            cells = map(fitting(field.type), column.to_pylist())
            columns.append(pa.chunked_array([pa.array(cells, field.type)]))
    return pa.table(columns, schema=schema)
