"""One look over all files of a corpus: columns and their types, shards, whether ids differ."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any, NamedTuple

import numpy as np

from sentune._lazy import need
from sentune.data.columns import PORTION
from sentune.data.corpus_files import File
from sentune.data.corpus_rows import columns_of, count_of, holds_large, is_text, rows
from sentune.data.corpus_types import Types
from sentune.data.lines import Row
from sentune.data.raw import FORMATS
from sentune.data.text_column import ID_NAMES, TEXT, likeliest, with_texts
from sentune.errors import DatasetError

# Files that hashes of ids are sorted into, each of which is looked at by itself: 1/64 of 8 bytes an
# id is what is in memory.
_PARTS = 64


class Facts(NamedTuple):
    """What is known of a corpus after a look over it.

    Attributes:
        text: Column with the texts.
        id: Column with the ids, or None.
        schema: Of the metadata.
        shards: Of each its file, first row, number of rows, and offset or None.
        notes: Sentences for people.
    """

    text: str
    id: str | None
    schema: Any
    shards: list[tuple[int, int, int, int | None]]
    notes: list[str]


def scan_documents(
    files: Sequence[File], shard_rows: int, text: str | None, id: str | None
) -> Facts:
    """Of files that are a document each."""
    for name, value in (("text", text), ("id", id)):
        if value is not None:
            raise DatasetError(
                f"there is no column {value!r}: files that are read as a document each have no "
                f"columns; leave out {name}"
            )
    shards: list[tuple[int, int, int, int | None]] = [
        (first, 0, min(shard_rows, len(files) - first), None)
        for first in range(0, len(files), shard_rows)
    ]
    return Facts(TEXT, None, need("pyarrow", extra="bulk").schema([]), shards, [])


def scan_rows(files: Sequence[File], shard_rows: int, text: str | None, id: str | None) -> Facts:
    """Of files with rows.

    Raises:
        DatasetError: If a column that is asked for is missing, or an id is missing or not unique.
    """
    types, shards = Types(), list[tuple[int, int, int, int | None]]()
    heads: dict[tuple[str, ...], File] = {}  # the first file with these columns
    with _Ids(id) as ids:
        for number, file in enumerate(files):
            schema = columns_of(file)
            if schema is None:
                own = Types(is_text=FORMATS[file.ending] == "csv")
                shards += _scanned(file, number, shard_rows, own, ids)
                types.merge(own)
                heads.setdefault(tuple(own.names()), file)
                continue
            heads.setdefault(tuple(schema.names), file)
            for field in schema:
                types.add(field.name, field.type)
            total = count_of(file)
            starts = range(0, total, shard_rows)
            shards += [(number, at, min(shard_rows, total - at), None) for at in starts]
            ids.see_all(file, schema.names)
        _see_large(types, files)
        whole = types.schema()
        notes = ids.settle(files, whole.names) if shards else []
    kept_id = ids.name
    chosen = _text_column(files, whole, text, kept_id) if shards else TEXT
    if shards:
        _check_texts(chosen, heads, types)
    fields = [field for field in whole if field.name not in (chosen, kept_id)]
    return Facts(chosen, kept_id, need("pyarrow", extra="bulk").schema(fields), shards, notes)


def _see_large(types: Types, files: Sequence[File]) -> None:
    """Take note of columns of floats for which another file has integers too large for a float."""
    known = [file for file in files if not is_text(file)]
    for name in types.floats():
        kind = need("pyarrow", extra="bulk").float64()
        if len(known) and len(files) > 1 and any(holds_large(file, name) for file in known):
            types.add(name, kind, is_large=True)


def _scanned(
    file: File, number: int, shard_rows: int, own: Types, ids: _Ids
) -> list[tuple[int, int, int, int | None]]:
    """The shards of a file that must be read from start to end."""
    starts: list[int | None] = []
    total = 0
    stream = rows(file)
    while portion := list(islice(stream, PORTION)):
        for row in portion:
            if total % shard_rows == 0:
                starts.append(row.offset)
            total += 1
        own.see([row.values for row in portion if row.values is not None])
        ids.see(portion)
    return [
        (number, place * shard_rows, min(shard_rows, total - place * shard_rows), offset)
        for place, offset in enumerate(starts)
    ]


def _text_column(files: Sequence[File], schema: Any, name: str | None, id: str | None) -> str:
    names = list(schema.names)
    if not names:
        problem = str(next(row.problem for row in rows(files[0]) if row.problem))
        is_foreign = problem.startswith("not UTF-8")
        hint = "; convert it with `iconv -f LATIN1 -t UTF-8`" if is_foreign else ""
        raise DatasetError(f"no row of {files[0].name} can be read: {problem}{hint}")
    if name is None:
        texts = [one for one in with_texts(schema) if one != id]
        seen = (row.values for row in rows(files[0]))
        name = likeliest(texts, (values for values in seen if values is not None))
        if name is None:
            raise DatasetError(f"there is no column of texts; there are {', '.join(names)}")
    if name not in names:
        raise DatasetError(f"there is no column {name!r}; there are {', '.join(names)}")
    return name


def _check_texts(name: str, heads: Mapping[tuple[str, ...], File], types: Types) -> None:
    """Refuse a column of texts that a file does not have, or that has none at all."""
    for names, file in heads.items():
        if names and name not in names:  # without names, no row of the file can be read
            raise DatasetError(f"{file.name} has no column {name!r}; it has {', '.join(names)}")
    if types.is_empty(name):
        raise DatasetError(
            f"column {name!r} has no text in any row; name another one (there are "
            f"{', '.join(types.names())})"
        )


class _Ids:
    """Whether the values of a column differ, over any number of rows in bounded memory."""

    def __init__(self, name: str | None) -> None:
        self.is_asked = name is not None
        self.name = name
        self._missing: str | None = None  # where an id is missing
        self._parts: list[IO[bytes]] = []
        self._rows = self._seen = 0

    def __enter__(self) -> _Ids:
        self._parts = [tempfile.TemporaryFile() for _ in range(_PARTS)]
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.close()

    def see(self, portion: Sequence[Row]) -> None:
        """Take the ids of some rows."""
        if self.name is None and not self._rows:  # the first rows show what there is
            names = next((row.values for row in portion if row.values), {})
            self.name = next((name for name in ID_NAMES if name in names), None)
        self._rows += len(portion)
        if self.name is None:
            return
        for row in portion:
            if row.values is not None:  # else it is named by its number
                self._add(row.values.get(self.name))

    def see_all(self, file: File, names: Sequence[str]) -> None:
        """Take the ids of a file whose columns are known."""
        if self.name is None and not self._rows:
            self.name = next((name for name in ID_NAMES if name in names), None)
        if self.name is None or self.name not in names:
            self._rows += 1
            self._missing = self._missing or f"{file.name} has none"
            return
        stream = rows(file, columns=[self.name])
        while portion := list(islice(stream, PORTION)):
            self.see(portion)

    def settle(self, files: Sequence[File], names: Sequence[str]) -> list[str]:
        """Keep the column if it names rows, else not; sentences that say why not.

        Raises:
            DatasetError: If it was asked for and does not.
        """
        if self.is_asked and self.name not in names:
            raise DatasetError(f"there is no column {self.name!r}; there are {', '.join(names)}")
        if self.name is None:
            return []
        wrong = self._missing or self._twice(files)
        if wrong is None:
            return []
        if self.is_asked:
            raise DatasetError(
                f"column {self.name!r} cannot name the rows: {wrong}; name another column, or "
                "none for ids of the form file:row"
            )
        note = f"column {self.name!r} is not used as ids: {wrong}; ids have the form file:row"
        self.name = None
        return [note]

    def _add(self, value: Any) -> None:
        self._seen += 1
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            what = "an id is missing" if value is None else f"an id is {value!r}"
            self._missing = self._missing or what
            return
        key = hash_of(value)
        self._parts[key[0] % _PARTS].write(key)

    def _twice(self, files: Sequence[File]) -> str | None:
        """What says which id is there several times; None if all differ."""
        wanted: set[bytes] = set()
        for part in self._parts:
            part.seek(0)
            hashes = np.sort(np.frombuffer(part.read(), dtype=np.uint64))
            wanted.update(value.tobytes() for value in hashes[1:][hashes[1:] == hashes[:-1]][:100])
        if not wanted:
            return None
        places: dict[str, str] = {}  # different ids of one hash are no mistake
        for place, value in self._values(files):
            name = str(value)
            if hash_of(value) in wanted and places.setdefault(name, place) != place:
                return f"{name!r} is in {places[name]} and in {place}"
        return None

    def _values(self, files: Sequence[File]) -> Iterator[tuple[str, Any]]:
        for file in files:
            for number, row in enumerate(rows(file, columns=[str(self.name)])):
                if row.values is not None:
                    yield f"row {number} of {file.name}", row.values.get(str(self.name))


def hash_of(value: str | int) -> bytes:
    """Eight bytes that stand for an id."""
    return hashlib.blake2b(str(value).encode("utf-8", "surrogatepass"), digest_size=8).digest()
