"""Documents -> rows in the table of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from sentune.errors import warn
from sentune.index import rows
from sentune.index.draft import Draft
from sentune.index.model import IndexModel
from sentune.index.stream import Documents, Target, check_known, metadata_of
from sentune.text.chunks import Chunker

_NAMED = 5  # ids that a message names


def batches_of(
    given: Documents,
    model: IndexModel | None,
    embeddings: Any,
    likeness: str,
    chunker: Chunker | None,
    on_progress: Callable[[int, int | None], None] | None,
) -> Iterator[rows.Batch]:
    """The rows of documents, made by the model or of the caller's embeddings."""

    def on_done(done: int) -> None:
        if on_progress is not None:
            on_progress(done, given.total)

    if model is None or embeddings is not None:
        return rows.given(given, rows.as_stored(embeddings, likeness, _document), on_done)
    made = model
    cut = rows.cutter(chunker)
    return rows.batches(given, cut, lambda texts: made.stored(texts, likeness), on_done)


def dimension_of(model: IndexModel | None, embeddings: Any) -> int:
    """Of the vectors, where no document has one."""
    if embeddings is not None:
        return int(np.asarray(embeddings).shape[-1])
    made: Any = model
    return int(made.documents(["text"]).shape[1])


def write(draft: Draft, given: Documents, batches: Iterable[rows.Batch], *, replace: bool) -> int:
    """Put the rows of documents into a draft, and give how many documents of it were replaced."""
    known = {column.name: column.type for column in metadata_of(draft.schema)}
    check_known(given.schema.names, known, "the documents have")
    given.target = Target(
        draft.next_number() if given.is_counted else 0,
        {} if given.folder is None else draft.folders_with(given.folder),
        known,
    )
    skipped: dict[str, str] = {}
    columns = draft.schema
    replaced = 0
    for batch in batches:
        # Where documents are replaced, nothing old may be found of one that has no text now.
        gone = list(batch.skipped) if replace else []
        replaced += draft.make_way([*batch.ids, *gone], replace=replace)
        if batch.kept:
            draft.add(batch.rows(columns, metadata_of(columns), draft.next_place))
        skipped.update(batch.skipped)
    if skipped:
        named = ", ".join(f"{id!r}" for id in list(skipped)[:_NAMED])
        more = ", ..." if len(skipped) > _NAMED else ""
        some = "1 document is" if len(skipped) == 1 else f"{len(skipped)} documents are"
        reason = next(iter(skipped.values()))
        warn(f"{some} not in the index: {reason} (ids {named}{more})")
    return replaced


def _document(number: int) -> str:
    return f"document {number}"
