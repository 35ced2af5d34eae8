"""One query -> the documents that answer it best, with their best chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sentune.errors import InputTypeError, SettingError
from sentune.index.ranking import Found, best_documents, fused
from sentune.index.settings import Settings
from sentune.index.store import Row, Store
from sentune.text.inputs import bad_unicode


@dataclass(frozen=True)
class Hit:
    """A document that was found.

    Attributes:
        id: Of the document.
        score: Higher is better. By mode: the similarity of the vectors; BM25 of the words; the sum
            of reciprocal ranks. With a reranker, its score.
        scores: In each ranking that the document is in, "vector" or "text".
        text: The best chunk of the document.
        start: Where the chunk starts in the text of the document, in characters.
        end: Where it ends.
        metadata: The other columns of the document.
    """

    id: str
    score: float
    text: str
    start: int
    end: int
    metadata: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class How:
    """How to search."""

    mode: str
    top_k: int
    candidates: int
    condition: str | None
    exact: bool
    probes: int | None
    scorer: Callable[[str, list[str]], Any] | None


def texts_of(query: Any, embedding: Any) -> tuple[list[str], bool]:
    """The texts of the queries, empty where there are only embeddings; and whether it is one."""
    if query is None and embedding is None:
        raise SettingError("give a query, or the embedding of one")
    if query is None:
        return [""] * len(np.atleast_2d(embedding)), np.ndim(embedding) == 1
    texts = [query] if isinstance(query, str) else list(query)
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputTypeError(f"a query must be a text, got {wrong!r}")
    if (error := bad_unicode(texts)) is not None:
        raise error
    return texts, isinstance(query, str)


def check_words(query: Any, *, exact: bool, probes: int | None) -> None:
    """Raise a SettingError for what a search for words alone cannot use."""
    if query is None:
        raise SettingError("mode='text' compares words; give a query beside its embedding")
    if exact or probes is not None:
        name = "exact" if exact else "probes"
        raise SettingError(
            f"{name} is about vectors, which mode='text' does not look at; leave it out, or "
            "search with mode='vector' or 'hybrid'"
        )


def hits(opened: Store, text: str, vector_for: Callable[[Settings], Any], how: How) -> list[Hit]:
    """The documents that answer one query best.

    Args:
        opened: Where to look.
        text: The query.
        vector_for: Gives its vector, `(d,)` as an index of some settings stores it; None if only
            words count.
        how: How to search.
    """
    found: list[Hit] | None = None
    while found is None:
        settings = opened.read(lambda: opened.settings)
        found = opened.read(partial(_if_same, opened, settings, text, vector_for(settings), how))
    if how.scorer is not None and found:
        scores = how.scorer(text, [hit.text for hit in found])
        order = np.argsort(-np.asarray(scores), kind="stable")
        found = [replace(found[place], score=float(scores[place])) for place in order]
    return found[: how.top_k]


def _if_same(
    opened: Store, settings: Settings, text: str, vector: Any, how: How
) -> list[Hit] | None:
    """What is found in an index of the settings; None if another build has replaced it."""
    if opened.settings != settings:
        return None
    return _detailed(opened, _ranked(opened, text, vector, how))


def _ranked(opened: Store, text: str, vector: Any, how: How) -> list[Found]:
    """The best documents: as many as are wanted, or as are scored again."""
    many = how.top_k if how.scorer is None and how.mode != "hybrid" else how.candidates
    rankings = {}
    if how.mode != "text":
        is_exact = how.exact or opened.rows < opened.settings.exact_below

        def nearest(limit: int) -> list[Row]:
            return opened.nearest(vector, limit, how.condition, exact=how.exact, probes=how.probes)

        rankings["vector"] = best_documents(nearest, many, with_ties=is_exact)
    if how.mode != "vector" and text.strip():

        def matching(limit: int) -> list[Row]:
            return opened.matching(text, limit, how.condition)

        rankings["text"] = best_documents(matching, many, with_ties=False)
    found = fused(rankings, is_sum=how.mode == "hybrid")
    return found[: how.top_k if how.scorer is None else how.candidates]


def _detailed(opened: Store, found: list[Found]) -> list[Hit]:
    names = opened.metadata_columns
    details = opened.details([one.row.key for one in found])
    return [
        Hit(
            one.row.id,
            one.score,
            row["text"],
            row["chunk_start"],
            row["chunk_end"],
            {name: row[name] for name in names},
            one.scores,
        )
        for one, row in zip(found, details, strict=True)
    ]


def scorer_of(reranker: Any, query: Any) -> Callable[[str, list[str]], Any] | None:
    """Scores of texts for a query."""
    if reranker is None:
        return None
    if query is None:
        raise SettingError("a reranker reads the text of the query; give one beside its embedding")
    if isinstance(reranker, (str, Path)):
        from sentune.encoder.cross_encoder import CrossEncoder

        reranker = CrossEncoder(str(reranker))
    if getattr(reranker, "num_labels", 1) != 1 or not hasattr(reranker, "predict"):
        raise SettingError("a reranker must be a CrossEncoder that gives one score per pair")

    def score(text: str, texts: list[str]) -> Any:
        return reranker.predict([(text, one) for one in texts], show_progress_bar=False)

    return score
