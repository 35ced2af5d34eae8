"""Rows that were read once: an Arrow file in the cache of the datasets library, and their places.

A folder has `rows.arrow`, `numbers.bin` (of each row its line, or its number
in its file),
`about.json`, and `bad.jsonl` where rows were left out.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from sentune._lazy import need
from sentune.data import corpus_files
from sentune.data.choice import Choice, Column
from sentune.data.corpus_files import File
from sentune.data.spool import BAD_ROWS, BadRows, Part
from sentune.disk import files, folders
from sentune.errors import OutputError, SentuneError

ROWS, NUMBERS, ABOUT = "rows.arrow", "numbers.bin", "about.json"
_VERSION = 4  # of what is kept; another one is read again
_PORTION = 10_000  # rows at a time
_KEYS = {"file", "reason", "raw"}  # of a row that was left out


class Places:
    """Where the rows of a dataset come from; made by `places`.

    Attributes:
        notes: What a person should know of how they were read, as sentences.
        skipped: How many rows were left out.
        sources: How many rows there are in the data, of which these may be a part.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        numbers: Sequence[int] | np.ndarray,
        indices: Any = None,
        notes: Sequence[str] = (),
        skipped: int = 0,
    ) -> None:
        self._parts, self._numbers, self._indices = list(parts), numbers, indices
        self._ends = np.cumsum([part.rows for part in parts])
        self.notes, self.skipped, self.sources = list(notes), skipped, len(numbers)

    @classmethod
    def of_folder(cls, folder: Path, indices: Any = None) -> Places:
        """The places of the rows in a folder."""
        about = _about(folder)
        file = folder / NUMBERS
        numbers: Any
        if file.stat().st_size:
            numbers = np.memmap(file, dtype=np.int64, mode="r")
        else:  # no row is left
            numbers = np.zeros(0, dtype=np.int64)
        parts = [Part(*part) for part in about["parts"]]
        return cls(parts, numbers, indices, about["notes"], about["skipped"])

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._numbers if self._indices is None else self._indices)

    def of(self, row: int) -> str:
        """The place of a row, from 0, in words: `file.csv, line 12`; lines are counted from 1."""
        if not 0 <= row < len(self):
            raise IndexError(f"there is no row {row}; there are {len(self)}")
        source = row if self._indices is None else int(self._indices[row].as_py())
        part = self._parts[int(np.searchsorted(self._ends, source, side="right"))]
        place = f"{part.unit} {int(self._numbers[source])}"
        return f"{part.name}, {place}" if part.name else place


def places(dataset: Any) -> Places:
    """Where the rows of a dataset come from.

    Args:
        dataset: What `read` gave for files, or what `select`, `filter`, `shuffle` or
            `train_test_split` made of it. The places of other rows are their numbers: `row 12`.
    """
    homes = [file.parent for file in _files_of(dataset) if file.name == ROWS]
    if len(homes) == 1 and is_there(homes[0]):
        indices = getattr(dataset, "_indices", None)
        found = Places.of_folder(homes[0], None if indices is None else indices.column(0))
        if found.sources == dataset.data.num_rows:
            return found
    return Places([Part("", "row", len(dataset))], range(len(dataset)))


def is_read(dataset: Any) -> bool:
    """Whether the rows are some of those of files, whose columns are chosen already."""
    files = _files_of(dataset)
    return bool(files) and all(
        file.name == ROWS and is_there(file.parent) and not _about(file.parent)["is_whole"]
        for file in files
    )


def _about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return found


def _files_of(dataset: Any) -> list[Path]:
    """The files in which the rows of a dataset are; none of what is in memory."""
    return [Path(file["filename"]) for file in getattr(dataset, "cache_files", None) or ()]


def home() -> Path:
    """The folder with all that is kept."""
    return Path(str(need("datasets", extra="train").config.HF_DATASETS_CACHE)) / "sentune"


def key_of(files: Sequence[File], wishes: object) -> str:
    """A name for what is made of files, another one if they change."""
    digest = hashlib.sha256(repr((_VERSION, wishes)).encode())
    for file in files:
        digest.update(repr((file, corpus_files.sample(file))).encode())
        digest.update(repr(corpus_files.version(file)).encode())
    return digest.hexdigest()[:32]


def folder_of(key: str) -> Path:
    """The folder of this name, which may not be there."""
    return home() / key


def is_there(folder: Path) -> bool:
    """Whether a folder has been made."""
    return (folder / ABOUT).is_file() and (folder / ROWS).is_file()


@contextmanager
def making(key: str) -> Iterator[Path]:
    """A folder to fill, which has this name when the block ends without error."""
    target = home() / key
    try:
        with folders.replaced(target) as draft:
            yield draft
    except OSError as error:
        if isinstance(error, SentuneError):
            raise
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}; the variable "
            "HF_DATASETS_CACHE names another folder"
        ) from error


def only_for_now(folder: Path) -> None:
    """Remove a folder when the process ends: of what cannot be read again under the same name."""
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def write(
    folder: Path,
    table: Any,
    choice: Choice,
    numbers: np.ndarray,
    parts: Sequence[Part],
    bad: BadRows,
) -> None:
    """Write the chosen columns of a table, and where its rows come from.

    With rows that are skipped, one without a text or a label is one of them.
    """
    pa = need("pyarrow", extra="train")
    schema = _schema(table, choice)
    stays = np.ones(len(numbers), dtype=bool)
    at = 0
    with (
        pa.OSFile(str(folder / ROWS), "wb") as file,
        pa.ipc.new_stream(file, schema) as writer,
        open(folder / NUMBERS, "wb") as numbers_file,
    ):
        for batch in table.select(_sources(choice)).to_batches(max_chunksize=_PORTION):
            rows = slice(at, at + batch.num_rows)
            if bad.is_skipping:
                stays[rows] = _without_gaps(batch, choice.columns, numbers, at, parts, bad)
                batch = batch.filter(pa.array(stays[rows]))
            at = rows.stop
            numbers[rows][stays[rows]].tofile(numbers_file)
            arrays = [
                column.convert(batch.column(column.source)).cast(field.type)
                for column, field in zip(choice.columns, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    ends = np.cumsum([part.rows for part in parts])
    left = [
        part._replace(rows=int(stays[end - part.rows : end].sum()))
        for part, end in zip(parts, ends, strict=True)
    ]
    about = {"parts": left, "notes": choice.notes, "skipped": bad.count, "first": bad.first}
    about["is_whole"] = choice.is_whole
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def opened(folder: Path) -> Any:
    """The rows of a folder as a `datasets.Dataset`, mapped into memory."""
    return need("datasets", extra="train").Dataset.from_file(str(folder / ROWS))


def hand_out_bad_rows(folder: Path, target: str | Path | bool) -> str | None:
    """Put the rows that were left out where they are wanted; a sentence about them.

    Raises:
        OutputError: If there is another file, which is not replaced.
    """
    about = _about(folder)
    source = folder / BAD_ROWS
    if not isinstance(target, bool):
        check_target(target)
        with files.opened(Path(target), through_links=True) as file:
            if source.is_file():
                with source.open("rb") as rows:
                    shutil.copyfileobj(rows, file)
    if not about["skipped"]:
        return None
    place = source if isinstance(target, bool) else target
    some = "1 row was" if about["skipped"] == 1 else f"{about['skipped']:,} rows were"
    return f"{some} left out, and written to {place}; the first: {about['first']}"


def check_target(target: str | Path) -> None:
    """Refuse to replace a file that has something else than rows that were left out.

    Raises:
        OutputError: If it is one, or cannot be written.
    """
    path = Path(target)
    if not path.absolute().parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file for the rows that are left out")
    if not path.exists() or not path.stat().st_size:
        return
    with suppress(ValueError, OSError), open(path, encoding="utf-8") as file:
        first = json.loads(file.readline())
        if isinstance(first, dict) and first.keys() >= _KEYS:
            return
    raise OutputError(
        f"{path} is there and has no rows that were left out; name another file for them, as in "
        "--skip-bad-rows bad.jsonl"
    )


def _sources(choice: Choice) -> list[str]:
    return list(dict.fromkeys(column.source for column in choice.columns))


def _schema(table: Any, choice: Choice) -> Any:
    """The columns as the datasets library writes them."""
    pa = need("pyarrow", extra="train")
    datasets = need("datasets", extra="train")
    empty = table.slice(0, 0)
    plain = pa.schema(
        [
            (column.name, column.convert(empty.column(column.source).combine_chunks()).type)
            for column in choice.columns
        ]
    )
    features = datasets.Features.from_arrow_schema(plain)
    known = {column.name: column.feature for column in choice.columns if column.feature is not None}
    return datasets.Features({**features, **known}).arrow_schema


def _without_gaps(
    batch: Any,
    columns: Sequence[Column],
    numbers: np.ndarray,
    at: int,
    parts: Sequence[Part],
    bad: BadRows,
) -> Any:
    """Which rows have something in all columns; of the others note is taken."""
    ends = np.cumsum([part.rows for part in parts])
    stays = np.ones(batch.num_rows, dtype=bool)
    for column in columns:
        if not batch.column(column.source).null_count:
            continue
        gaps = batch.column(column.source).is_null().to_numpy(zero_copy_only=False)
        what = "label" if column.is_label else "text"
        for place in np.flatnonzero(gaps & stays):
            part = parts[int(np.searchsorted(ends, at + place, side="right"))]
            row = batch.slice(int(place), 1).to_pylist()[0]
            bad.add(
                part.name,
                f"{part.unit} {int(numbers[at + place])}",
                f"the {what} in column {column.source!r} is missing",
                json.dumps(row, ensure_ascii=False, default=str),
            )
        stays &= ~gaps
    return stays
