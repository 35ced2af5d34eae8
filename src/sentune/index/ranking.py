"""Rankings of rows -> rankings of documents: best chunks, ties, reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sentune.index.store import Row

# Of reciprocal rank fusion, as in its source: how much less the first ranks differ.
RANK_CONSTANT = 60
_MORE = 4  # times as many rows, where there are not enough documents among them


class Found(NamedTuple):
    """A document that was found: its best row, and a score, higher is better."""

    row: Row
    score: float


def best_documents(
    fetch: Callable[[int], list[Row]], count: int, *, with_ties: bool = True
) -> list[Found]:
    """The `count` best documents, each by its best row; equal scores in the order of the rows.

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
        found = [Found(row, row.score) for row in best.values()][:count]
        is_all = len(rows) < limit
        is_decided = len(found) == count and (not with_ties or found[-1].score > rows[-1].score)
        if is_all or is_decided:
            return found
        limit *= _MORE


def fused(rankings: Sequence[Sequence[Found]], constant: int = RANK_CONSTANT) -> list[Found]:
    """One ranking of several, by the sum of `1 / (constant + rank)` over those a document is in.

    Each document comes with its row of the ranking where it is highest; of two equal ones the
    first. Equal sums are in the order of the rankings.

    Source: Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods", SIGIR 2009.
    """
    sums: dict[str, float] = {}
    best: dict[str, tuple[int, Row]] = {}
    for ranking in rankings:
        for rank, found in enumerate(ranking, start=1):
            name = found.row.id
            sums[name] = sums.get(name, 0.0) + 1 / (constant + rank)
            if name not in best or rank < best[name][0]:
                best[name] = (rank, found.row)
    order = sorted(sums, key=lambda name: -sums[name])  # stable
    return [Found(best[name][1], sums[name]) for name in order]
