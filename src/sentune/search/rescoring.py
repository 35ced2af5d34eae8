"""Candidates scored once more, by a cross encoder or by any function of pairs of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from sentune.errors import InputError, InputTypeError
from sentune.search.limits import Candidates
from sentune.vectors.similarity import to_tensor

TextPair: TypeAlias = "tuple[str, str]"
Judge: TypeAlias = Callable[[list[TextPair]], np.ndarray]

_BATCH = 32  # pairs judged by a cross encoder in one pass, by default
_AT_A_TIME = 1 << 16  # pairs that it is given in one call


def judge_of(cross_encoder: Any, batch_size: int | None, options: dict[str, Any]) -> Judge:
    """What gives a score to each pair of a query and a document, `(n,)`.

    Args:
        cross_encoder: Has `predict(pairs, batch_size=...)`, or `rank(query, documents)` that gives
            `[{"corpus_id": 0, "score": 0.5}, ...]`, or is a function of pairs.
        batch_size: For `predict`.
        options: More for `predict`.

    Raises:
        InputTypeError: If it is something else.
    """
    is_class = isinstance(cross_encoder, type)
    if not is_class and callable(getattr(cross_encoder, "predict", None)):
        options = {"batch_size": batch_size or _BATCH, **options}
        return lambda pairs: _checked(cross_encoder.predict(pairs, **options), len(pairs))
    if not is_class and callable(getattr(cross_encoder, "rank", None)):
        return lambda pairs: _checked(_by_rank(cross_encoder.rank, pairs), len(pairs))
    if not is_class and callable(cross_encoder):
        return lambda pairs: _checked(cross_encoder(pairs), len(pairs))
    raise InputTypeError(
        "cross_encoder must have predict(pairs, batch_size=...) or rank(query, documents), or be a "
        "function that gives a score for each of a list of pairs (query, document); got "
        f"{cross_encoder if is_class else type(cross_encoder).__name__}"
    )


def rescored(
    judge: Judge, queries: Sequence[str], corpus: Sequence[str], candidates: Candidates
) -> Candidates:
    """The candidates with other scores; those that are out are not judged and stay out."""
    rows, places = candidates.is_in.nonzero()
    documents = candidates.documents[rows, places]
    scores = candidates.scores.copy()
    scores[rows, places] = _in_parts(judge, queries, corpus, rows, documents)
    return Candidates(scores, candidates.documents)


def judged(
    judge: Judge, queries: Sequence[str], corpus: Sequence[str], places: Sequence[Sequence[int]]
) -> np.ndarray:
    """The scores of the documents that are named for each query, query by query."""
    rows = np.repeat(np.arange(len(places)), [len(one) for one in places])
    documents = np.concatenate([np.asarray(one, dtype=np.int64) for one in places])
    return _in_parts(judge, queries, corpus, rows, documents)


def _in_parts(
    judge: Judge,
    queries: Sequence[str],
    corpus: Sequence[str],
    rows: np.ndarray,
    documents: np.ndarray,
) -> np.ndarray:
    """The scores of pairs, `(n,)`; all pairs of a query are judged in one call."""
    scores = np.empty(len(rows), dtype=np.float32)
    for part in _parts(rows):
        both = zip(rows[part].tolist(), documents[part].tolist(), strict=True)
        scores[part] = judge([(queries[row], corpus[place]) for row, place in both])
    return scores


def _parts(rows: np.ndarray) -> Iterator[slice]:
    """Parts of ascending numbers, cut where the number changes."""
    start = 0
    while start < len(rows):
        stop = min(start + _AT_A_TIME, len(rows))
        if stop < len(rows):
            first = int(np.searchsorted(rows, rows[stop], side="left"))
            whole = int(np.searchsorted(rows, rows[stop], side="right"))
            stop = first if first > start else whole
        yield slice(start, stop)
        start = stop


def _by_rank(rank: Callable[..., Any], pairs: list[TextPair]) -> list[float]:
    scores: list[float] = []
    for query, group in groupby(pairs, key=lambda pair: pair[0]):
        documents = [document for _, document in group]
        known = {hit["corpus_id"]: float(hit["score"]) for hit in rank(query, documents)}
        scores += [known.get(place, np.nan) for place in range(len(documents))]
    return scores


def _checked(scores: Any, count: int) -> np.ndarray:
    found = to_tensor(scores).detach().float().cpu().numpy()
    if found.shape != (count,):
        what = (
            "; a cross encoder with several labels gives a score for each: take one with "
            "num_labels=1, or give a function that chooses the score"
            if found.ndim == 2
            else ""
        )
        raise InputError(
            f"the cross encoder must give one score per pair, of the shape ({count},) for {count} "
            f"pairs; got {found.shape}{what}"
        )
    return found
