"""A corpus: texts with ids and metadata in any number of files, read as a stream in shards.

Nothing of it is kept in memory but the list of its files and shards. A shard is a file, or so many
rows of a large one; it always has the same rows, whoever reads it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sentune._lazy import need
from sentune.checks import check_positive, one_of
from sentune.data import corpus_files, corpus_types
from sentune.data.corpus_files import DOCUMENTS, File
from sentune.data.corpus_rows import document, is_text, rows, with_encoding
from sentune.data.corpus_scan import Facts, scan_documents, scan_rows
from sentune.data.raw import FORMATS
from sentune.data.sources import MissingPartError, of_part, parts_of
from sentune.errors import DatasetError

SHARD_ROWS = 50_000
_NAMED = 5  # files that a note names
_ENDINGS = {
    "line": tuple(FORMATS),
    "file": DOCUMENTS,
    "table": tuple(ending for ending in FORMATS if ending not in DOCUMENTS),
}


class Document(NamedTuple):
    """A row of a corpus.

    Attributes:
        id: Of the id column, or the file and the number of the row in it, from 0.
        text: None if there is a problem.
        metadata: The other columns, as `Corpus.schema` says.
        problem: Why the row has no text; None if it has one.
    """

    id: str
    text: str | None
    metadata: dict[str, Any]
    problem: str | None = None


class Shard(NamedTuple):
    """Which rows a shard has.

    Attributes:
        number: From 0.
        file: Number of its file; with documents that are files, of the first one.
        start: Number of its first row in the file.
        rows: How many rows, or documents, it has.
        offset: Where the first row starts in the file, in bytes, if it can be read from there.
    """

    number: int
    file: int
    start: int
    rows: int
    offset: int | None


class Corpus:
    """Texts with ids and metadata, to be read as a stream; made by `Corpus.open`.

    Attributes:
        source: Where it is.
        files: Its files, by name.
        shards: Its shards.
        text: Name of the column with the texts.
        id: Name of the column with the ids; None if rows are named by file and number.
        left_out: Names of the files of its folder that are not read.
        notes: What a person should know of how it is read, as sentences.
    """

    def __init__(self, source: str, files: list[File], plan: Mapping[str, Any]) -> None:
        self.source, self.files, self.plan = source, files, dict(plan)
        self.shards = [Shard(n, *row) for n, row in enumerate(plan["shards"])]
        self.text: str = plan["text"]
        self.id: str | None = plan["id"]
        self.left_out: list[str] = list(plan.get("left_out", []))
        self.notes: list[str] = [*plan["notes"], *left_out_note(self.left_out)]
        self._names: Callable[[str], str] = str
        self._kept: tuple[int, int, Iterator[Any]] | None = None
        self._fit: dict[str, Any] | None = None

    @classmethod
    def open(
        cls,
        source: str | Path,
        text: str | None = None,
        id: str | None = None,
        per: Literal["line", "file", "table"] = "line",
        shard_rows: int = SHARD_ROWS,
        split: str | None = None,
        plan: Mapping[str, Any] | None = None,
    ) -> Corpus:
        """The corpus in a file or folder.

        Files that do not say their number of rows (csv, json lines, txt) are read once from start
        to end, to find where shards start, which types columns have and whether ids differ.

        Args:
            source: A csv, tsv, json, jsonl, ndjson, parquet, arrow or txt file (a text per line),
                also compressed (gz, bz2, xz, zst); a folder of such files; a folder of
                `Dataset.save_to_disk`; or an address as `s3://bucket/folder`.
            text: Column with the texts; None for "text", else the first text column that holds
                neither ids nor labels.
            id: Column with the ids, which must differ; None for "id" or "_id" if there is one and
                its values differ, else rows are named `file:number`.
            per: "file" reads each text file of a folder (txt, md, rst ...) as one document; "table"
                reads all but these.
            shard_rows: Rows of a shard at most, or documents that are files.
            split: Which part of a saved `DatasetDict`, or of a folder whose files are named by
                their parts (train.jsonl, test.jsonl); None for "train" of the one, and all files of
                the other.
            plan: `Corpus.plan` of this corpus; if its files are the same now, they are not read
                again.

        Raises:
            DatasetError: If there is no such source, column or part, a file cannot be read, there
                are no rows, or ids of a column that was named are missing or not all different.
        """
        check_positive(shard_rows=shard_rows)
        endings = _ENDINGS[one_of("per", per, tuple(_ENDINGS))]
        _check_split(split)
        notes: list[str] = []
        files, left_out = corpus_files.listed(source, endings, split or "train")
        if per != "file":
            files = [file for file in files if file.size]
        if split is not None:
            files = _of_split(source, files, split, notes)
        elif per != "file" and len(parts := parts_of(files)) > 1:
            notes.append(
                f"files of several parts ({', '.join(parts)}, by their names) are read; split "
                "chooses one"
            )
        asked = {"text": text, "id": id, "per": per, "shard_rows": shard_rows, "split": split}
        place = corpus_files.absolute(source)
        listing = [[file.name, file.size, corpus_files.sample(file)] for file in files]
        if plan is not None and (_asked(plan), plan["files"]) == (
            _asked({"asked": asked}),
            listing,
        ):
            return cls(place, _decoded(files, plan), plan)
        if per == "file":
            facts = scan_documents(files, shard_rows, text, id)
        else:
            files = _with_encodings(files, notes)
            facts = scan_rows(files, shard_rows, text, id)
        if not facts.shards:
            raise DatasetError(f"{source} has no rows")
        is_file = files[0].address == place
        plan = {"asked": asked, "is_file": is_file, "files": listing, **_as_plan(facts)}
        plan["encodings"] = {
            file.name: [file.encoding, file.has_old_ends]
            for file in files
            if file.encoding or file.has_old_ends
        }
        plan["notes"] += notes
        plan["left_out"] = left_out
        return cls(place, files, plan)

    @classmethod
    def of_plan(cls, source: str | Path, plan: Mapping[str, Any]) -> Corpus:
        """The corpus of a plan, whose files are taken to be there and unchanged."""
        place = corpus_files.absolute(source)
        files = [
            File(name, place if plan["is_file"] else f"{place.rstrip('/')}/{name}", size)
            for name, size, _ in plan["files"]
        ]
        return cls(place, _decoded(files, plan), plan)

    def as_written(self, names: Callable[[str], str]) -> Corpus:
        """The same corpus with values as they are in the files, for whoever has types of its own.

        Args:
            names: Gives what a file is called in ids, of its name.
        """
        made = Corpus(self.source, self.files, self.plan)
        made._names, made._fit = names, dict.fromkeys(self.schema.names, lambda value: value)
        return made

    def __len__(self) -> int:
        """How many rows there are, those without a text included."""
        return sum(shard.rows for shard in self.shards)

    def __iter__(self) -> Iterator[Document]:
        """All documents, in order."""
        return chain.from_iterable(self.shard(shard.number) for shard in self.shards)

    @property
    def schema(self) -> Any:
        """A `pyarrow.Schema` of the metadata."""
        pa = need("pyarrow", extra="bulk")
        return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(self.plan["schema"])))

    def shard(self, number: int) -> Iterator[Document]:
        """The documents of a shard, in order.

        Raises:
            DatasetError: If a file cannot be read, or is another one than when it was opened.
        """
        shard = self.shards[number]
        self._check_unchanged(shard)
        found = 0
        for one in self._documents(shard):
            yield one
            found += 1
        if found < shard.rows:
            name = self.files[shard.file].name
            raise DatasetError(f"{name} has fewer rows than when it was read first")

    def _check_unchanged(self, shard: Shard) -> None:
        """Raise a DatasetError if a file of a shard is another one than when it was opened."""
        is_per_file = self.plan["asked"]["per"] == "file"
        for number in range(shard.file, shard.file + (shard.rows if is_per_file else 1)):
            file, known = self.files[number], self.plan["files"][number][2]
            try:
                is_same = corpus_files.sample(file) == known
            except OSError as error:
                reason = error.strerror or error
                raise DatasetError(f"{file.name} cannot be read: {reason}") from error
            if not is_same:
                raise DatasetError(
                    f"{file.name} has changed since it was read first; put the old one back, or "
                    "start anew"
                )

    def _documents(self, shard: Shard) -> Iterator[Document]:
        if self.plan["asked"]["per"] == "file":
            for file in self.files[shard.file : shard.file + shard.rows]:
                row = document(file)
                yield Document(
                    self._names(file.name), (row.values or {}).get("text"), {}, row.problem
                )
            return
        name = self._names(self.files[shard.file].name)
        for row_number, row in enumerate(self._rows(shard), shard.start):
            yield self._document(row, f"{name}:{row_number}")

    def _rows(self, shard: Shard) -> Iterator[Any]:
        """The rows of a shard; its file is kept open for the next one, which most often follows."""
        kept, self._kept = self._kept, None
        if kept is not None and kept[:2] == (shard.file, shard.start):
            stream = kept[2]
        else:
            stream = rows(self.files[shard.file], shard.start, shard.offset)
        yield from islice(stream, shard.rows)
        following = next(stream, None)
        if following is not None:
            self._check_next(shard, following)
            self._kept = (shard.file, shard.start + shard.rows, chain([following], stream))

    def _check_next(self, shard: Shard, following: Any) -> None:
        """Raise a DatasetError if the next shard does not begin where a shard ends.

        So it is where the plan is of a version that found other rows in the file.
        """
        later = self.shards[shard.number + 1 : shard.number + 2]
        offset = later[0].offset if later and later[0].file == shard.file else -1
        if offset is not None and offset != following.offset:
            raise DatasetError(
                f"{self.files[shard.file].name} has other rows than when it was read first, by "
                "another version of sentune or before a change; start anew in another folder"
            )

    def _document(self, row: Any, name: str) -> Document:
        if row.values is None:
            return Document(name, None, {}, row.problem)
        if self._fit is None:
            self._fit = {one.name: corpus_types.fitting(one.type) for one in self.schema}
        values = row.values
        own = values.get(self.id) if self.id is not None else None
        name = name if own is None else str(own)
        metadata = {key: fit(values.get(key)) for key, fit in self._fit.items()}
        text = values.get(self.text)
        if isinstance(text, str):
            return Document(name, text, metadata)
        wrong = f"the text in column {self.text!r} is " + (
            "missing" if text is None else f"no string but {text!r}"
        )
        return Document(name, None, metadata, wrong)


def _asked(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for; plans of older versions say "train" where no part was named."""
    return {**plan["asked"], "split": plan["asked"]["split"] or "train"}


def _check_split(split: str | None) -> None:
    if split is not None and ("[" in split or not split):
        raise DatasetError(
            f"split names a whole part of a corpus, as 'test', got {split!r}; for some of its rows "
            "write these to a file first"
        )


def _of_split(source: str | Path, files: list[File], split: str, notes: list[str]) -> list[File]:
    """The files of the part that is asked for."""
    is_file = files[0].address == corpus_files.absolute(source)
    if parts_of(files) and not is_file:
        return of_part(source, files, split, notes)
    is_saved = all(file.name.startswith(f"{split}/") for file in files)
    if split != "train" and not is_saved:
        why = "it is one file" if is_file else "its files are not named by parts, as test.jsonl"
        raise MissingPartError(f"{source} has no part {split!r}: {why}; leave out split")
    return files


def _with_encodings(files: list[File], notes: list[str]) -> list[File]:
    """The files with their encodings; those in object storage, which would be sent twice, as UTF-8.

    Sentences of what is guessed are added to the notes.
    """
    found = []
    for file in files:
        if is_text(file) and not corpus_files.is_remote(file.address):
            file, _ = with_encoding(file, notes, "convert it with `iconv -f NAME -t UTF-8`")
        found.append(file)
    return found


def _decoded(files: list[File], plan: Mapping[str, Any]) -> list[File]:
    """The files of a plan with the encodings that it has."""
    known = plan.get("encodings") or {}
    return [
        file._replace(encoding=known[file.name][0], has_old_ends=known[file.name][1])
        if file.name in known
        else file
        for file in files
    ]


def left_out_note(names: Sequence[str]) -> list[str]:
    """A sentence that says which files of a folder are not read."""
    if not names:
        return []
    some = "1 file is" if len(names) == 1 else f"{len(names):,} files are"
    more = " ..." if len(names) > _NAMED else ""
    return [f"{some} left out, whose endings are not read here: {', '.join(names[:_NAMED])}{more}"]


def _as_plan(facts: Facts) -> dict[str, Any]:
    """What a scan found, as it can be written to JSON."""
    return {
        "text": facts.text,
        "id": facts.id,
        "shards": [list(row) for row in facts.shards],
        "columns": {field.name: str(field.type) for field in facts.schema},
        "schema": base64.b64encode(facts.schema.serialize().to_pybytes()).decode(),
        "notes": facts.notes,
    }
