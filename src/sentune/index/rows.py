"""Documents -> batches of rows: cut into chunks, encoded, with their metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from sentune._lazy import need
from sentune.data.corpus import Document
from sentune.errors import InputError
from sentune.index.stream import columns_of
from sentune.text.chunks import Chunk, Chunker

# Rows that are written at a time: it bounds the memory.
ROWS = 4_096
_PART = 256  # rows that are encoded between two reports of progress


@dataclass
class Batch:
    """Some documents and the rows that stand for them.

    Attributes:
        kept: The documents that have rows.
        skipped: Ids of documents without a text, and the reason.
        owners: Document of each row, as its number in `kept`.
        chunks: Number of each row in its document, and the part that it is.
        vectors: `(rows, d)` float32.
    """

    kept: list[Document]
    skipped: dict[str, str]
    owners: list[int]
    chunks: list[tuple[int, Chunk]]
    vectors: np.ndarray

    @property
    def ids(self) -> list[str]:
        """Ids of the documents that have rows, in order."""
        return [document.id for document in self.kept]

    def rows(self, schema: Any, metadata: Any, first_place: int) -> Any:
        """The rows as a `pyarrow.RecordBatch`.

        Args:
            schema: All columns.
            metadata: Schema of those of the metadata.
            first_place: Place of the first row.
        """
        pa = need("pyarrow", extra="index")
        owners = pa.array(self.owners, pa.int64())
        texts = [self.kept[owner].text or "" for owner in self.owners]
        spans = [chunk for _, chunk in self.chunks]
        count = len(self.owners)
        columns = {
            "id": pa.array(self.ids, pa.string()).take(owners),
            "place": pa.array(range(first_place, first_place + count), pa.int64()),
            "chunk": pa.array([number for number, _ in self.chunks], pa.int32()),
            "chunk_start": pa.array([span.start for span in spans], pa.int64()),
            "chunk_end": pa.array([span.end for span in spans], pa.int64()),
            "text": pa.array([text[s.start : s.end] for text, s in zip(texts, spans, strict=True)]),
            "vector": _as_vectors(self.vectors, schema.field("vector").type),
        }
        for name, values in columns_of(self.kept, metadata).items():
            columns[name] = values.take(owners)
        arrays = [
            columns[field.name].cast(field.type)
            if field.name in columns
            else pa.nulls(count, field.type)
            for field in schema
        ]
        return pa.record_batch(arrays, schema=schema)


def batches(
    documents: Iterable[Document],
    cut: Callable[[str], list[Chunk]],
    encode: Callable[[list[str]], np.ndarray],
    on_done: Callable[[int], None] = lambda done: None,
    size: int = ROWS,
) -> Iterator[Batch]:
    """The documents in batches of about `size` rows; a document is not divided between two.

    Args:
        documents: The documents.
        cut: Gives the chunks of a text, as `Chunker.chunks`.
        encode: Gives vectors `(n, d)` of n texts, of the length that is to be stored.
        on_done: Called with the number of documents that are done.
        size: Rows of a batch, unless one document has more.
    """
    rest = iter(documents)
    done = 0
    while True:
        kept: list[Document] = []
        skipped: dict[str, str] = {}
        owners: list[int] = []
        chunks: list[tuple[int, Chunk]] = []
        count = 0
        for document in rest:
            count += 1
            found = cut(document.text) if document.text is not None else []
            if not found:
                skipped[document.id] = document.problem or "its text is empty"
            else:
                owners += [len(kept)] * len(found)
                chunks += enumerate(found)
                kept.append(document)
            if len(owners) >= size or count >= size:
                break
        if not count:
            return
        texts = [
            (kept[owner].text or "")[chunk.start : chunk.end]
            for owner, (_, chunk) in zip(owners, chunks, strict=True)
        ]
        parts = []
        for start in range(0, len(texts), _PART):
            on_done(done + owners[start])
            parts.append(encode(texts[start : start + _PART]))
        vectors = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        done += count
        on_done(done)
        yield Batch(kept, skipped, owners, chunks, vectors)


def given(
    documents: Iterable[Document],
    vectors: Any,
    on_done: Callable[[int], None] = lambda done: None,
    size: int = ROWS,
) -> Iterator[Batch]:
    """As `batches`, with a vector of the caller's for each document, which is not cut."""
    rest = iter(documents)
    start = 0
    while part := list(islice(rest, size)):
        rows = vectors[start : start + len(part)]
        if len(rows) < len(part):
            break
        start += len(part)
        on_done(start)
        kept = [document for document in part if document.text is not None]
        is_kept = np.array([document.text is not None for document in part])
        skipped = {d.id: d.problem or "it has no text" for d in part if d.text is None}
        chunks = [(0, Chunk(0, len(document.text or ""))) for document in kept]
        yield Batch(kept, skipped, list(range(len(kept))), chunks, rows[is_kept])
    if start != len(vectors) or part:
        raise InputError(
            f"there are {len(vectors)} embeddings, and not as many documents; give one for each"
        )


def whole(text: str) -> list[Chunk]:
    """The text as its only chunk, without blanks at its ends; none if it is empty."""
    inside = text.strip()
    start = len(text) - len(text.lstrip())
    return [Chunk(start, start + len(inside))] if inside else []


def cutter(chunker: Chunker | None) -> Callable[[str], list[Chunk]]:
    """What cuts texts; None for not at all."""
    return whole if chunker is None else chunker.chunks


def as_stored(vectors: Any, similarity: str, names: Callable[[int], str] = str) -> np.ndarray:
    """Vectors `(n, d)` in float32, of length 1 if they are compared by cosine.

    Args:
        vectors: As a model gave them.
        similarity: How they are compared.
        names: Gives the name of a row, for the error.

    Raises:
        InputError: If they are no matrix, or a number of them is not finite.
    """
    found = np.asarray(vectors, dtype=np.float32)
    if found.ndim != 2:
        raise InputError(f"embeddings must be a matrix (n, d), got the shape {found.shape}")
    wrong = ~np.isfinite(found).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"the embedding of {names(row)} has a NaN or an infinite number")
    if similarity != "cosine":
        return found
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.maximum(lengths, 1e-12, dtype=np.float32)


def _as_vectors(vectors: np.ndarray, kind: Any) -> Any:
    pa = need("pyarrow", extra="index")
    if vectors.shape[1] != kind.list_size:
        raise InputError(
            f"the index has vectors of {kind.list_size} numbers, and these have {vectors.shape[1]}"
        )
    flat = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
