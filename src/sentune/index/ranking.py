"""Rankings of rows -> rankings of documents: best chunks, ties, reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sentune.index.store import Row

# Of reciprocal rank fusion: a larger constant makes the first ranks more alike. Both numbers were
# chosen on 600 docstrings that are not among those of docs/search.md.
RANK_CONSTANT = 10
WEIGHTS = {"vector": 2, "text": 1}
_MORE = 4  # times as many rows, where there are not enough documents among them


class Found(NamedTuple):
    """A document that was found.

    Attributes:
        row: Its best row.
        score: Higher is better.
        scores: In each ranking that it is in.
    """

    row: Row
    score: float
    scores: dict[str, float]


def best_documents(
    fetch: Callable[[int], list[Row]], count: int, *, with_ties: bool = True
) -> list[Row]:
    """The best rows of the `count` best documents; equal scores in the order of the rows.

    Args:
        fetch: Gives the best rows, at most so many, best first; all of them if there are no more.
        count: How many documents.
        with_ties: Whether to look at all rows that share the last place, so that the result does
            not depend on which of them the store gives first.
    """
    limit = max(2 * count, 32)
    while True:
        rows = fetch(limit)
        best: dict[str, Row] = {}
        for row in rows:
            best.setdefault(row.id, row)
        found = list(best.values())[:count]
        is_all = len(rows) < limit
        is_decided = len(found) == count and (not with_ties or found[-1].score > rows[-1].score)
        if is_all or is_decided:
            return found
        limit *= _MORE


def fused(rankings: Mapping[str, Sequence[Row]], *, is_sum: bool = True) -> list[Found]:
    """One ranking of several, by the sum of `weight / (10 + rank)` over those a document is in.

    Each document comes with its row of the ranking where it is highest; of two equal ones the
    first. Equal sums are in the order of the rankings. Unless `is_sum`, there is one ranking, whose
    scores stay.

    Source: Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods", SIGIR 2009; there the constant is 60, and there are no weights.
    """
    sums: dict[str, float] = {}
    best: dict[str, tuple[int, Row]] = {}
    scores: dict[str, dict[str, float]] = {}
    for ranking, rows in rankings.items():
        for rank, row in enumerate(rows, start=1):
            name = row.id
            score = WEIGHTS[ranking] / (RANK_CONSTANT + rank) if is_sum else row.score
            sums[name] = sums.get(name, 0.0) + score
            scores.setdefault(name, {})[ranking] = row.score
            if name not in best or rank < best[name][0]:
                best[name] = (rank, row)
    order = sorted(sums, key=lambda name: -sums[name])  # stable
    return [Found(best[name][1], sums[name], scores[name]) for name in order]
