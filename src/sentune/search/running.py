"""The best of many tiles, of each row or of all pairs, in memory that does not grow with them.

A floor, the score in the last place, keeps out nearly all of what comes later.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sentune.search.pairs import Pairs
from sentune.search.tiles import Comparison, Hits, Rows
from sentune.search.top import Best, by_score, highest


class Nearest:
    """The `k` nearest columns of each of `count` rows, whose columns come from left to right.

    A score of NaN is near nothing. Places that stay empty have the score minus infinity.
    """

    def __init__(self, comparison: Comparison, count: int, k: int, like: Tensor) -> None:
        dtype = like.dtype if like.is_floating_point() else torch.float32
        self._comparison = comparison
        self._scores = like.new_full((count, k), -torch.inf, dtype=dtype)
        self._columns = like.new_zeros((count, k), dtype=torch.int64)

    @property
    def best(self) -> Best:
        """What was found."""
        return Best(self._scores, self._columns)

    def floors(self, rows: slice) -> Tensor:
        """For each row what a score must be above to get in."""
        return self._scores[rows, -1]

    def add_tile(self, rows: slice, left: Rows, right: Rows, first_column: int) -> None:
        """A tile, not yet computed."""
        found = self._comparison.above(left, right, self.floors(rows))
        if isinstance(found, Hits):
            self.add(rows.start, found, first_column)
        else:
            self.add_scores(rows, found, first_column, left, right)

    def add_scores(
        self, rows: slice, scores: Tensor, first_column: int, left: Rows, right: Rows
    ) -> None:
        """A whole tile of scores."""
        k = self._scores.shape[1]
        k = min(k, scores.shape[1])
        found = highest(torch.where(scores.isnan(), -torch.inf, scores), k)
        if left.rounded is not None:  # later hits are scored one by one: equal texts, equal scores
            at = torch.arange(len(scores), device=scores.device).repeat_interleave(k)
            again = self._comparison.of_pairs(left, at, right, found.columns.flatten())
            is_near = found.scores > -torch.inf
            scores = torch.where(is_near, again.view_as(found.scores), found.scores)
            found = by_score(Best(scores, found.columns))
        self._merge(torch.arange(rows.start, rows.stop, device=scores.device), found, first_column)

    def add(self, first_row: int, hits: Hits, first_column: int) -> None:
        """What is above the floors of a tile."""
        if not len(hits.scores):
            return
        counts = torch.bincount(hits.rows)
        place = torch.arange(len(hits.rows), device=counts.device)
        place -= (counts.cumsum(0) - counts)[hits.rows]  # of each hit among those of its row
        rows = counts.nonzero().squeeze(1)
        rank = torch.empty_like(counts)
        rank[rows] = torch.arange(len(rows), device=counts.device)
        at = (rank[hits.rows], place)
        scores = self._scores.new_full((len(rows), int(counts.max())), -torch.inf)
        columns = self._columns.new_zeros(scores.shape)
        scores[at] = hits.scores.to(scores.dtype)
        columns[at] = hits.columns
        found = highest(scores, self._scores.shape[1])
        found = Best(found.scores, columns.gather(1, found.columns))
        self._merge(rows + first_row, found, first_column)

    def _merge(self, rows: Tensor, found: Best, first_column: int) -> None:
        found = Best(found.scores.to(self._scores.dtype), found.columns + first_column)
        merged = Best(self._scores[rows], self._columns[rows]).merge(found, self._scores.shape[1])
        self._scores[rows], self._columns[rows] = merged


class BestPairs:
    """The `k` highest of all pairs that are above a floor; of equal scores the first, by rows."""

    def __init__(self, k: int, floor: Tensor) -> None:
        self._k = k
        self.floor = floor  # (1,)
        self._parts: list[tuple[Tensor, ...]] = []
        self._count = 0
        self.is_cut = False  # whether there were more than k

    def add(self, scores: Tensor, rows: Tensor, columns: Tensor) -> None:
        """Pairs above the floor."""
        self._parts.append((scores, rows, columns))
        self._count += len(scores)
        if self._count > 2 * self._k:
            self._shorten()

    def best(self) -> Pairs:
        """What was found."""
        pairs = Pairs(*(part.cpu().numpy() for part in self._joined())).in_order()
        self.is_cut = self.is_cut or len(pairs.scores) > self._k
        return pairs.take(slice(self._k))

    def _joined(self) -> tuple[Tensor, ...]:
        if not self._parts:
            nothing = self.floor.new_empty(0)
            return nothing, nothing.long(), nothing.long()
        return tuple(torch.cat(parts) for parts in zip(*self._parts, strict=True))

    def _shorten(self) -> None:
        """Leave the `k` first; of equal scores others may be before them that come later."""
        scores, rows, columns = self._joined()
        lowest = scores.topk(self._k, sorted=False).values.min()
        is_in = scores > lowest
        ties = (scores == lowest).nonzero().squeeze(1)
        order = (rows[ties] << 32) | columns[ties]
        wanted = self._k - int(is_in.sum())
        is_in[ties[order.topk(wanted, largest=False, sorted=False).indices]] = True
        self._parts = [(scores[is_in], rows[is_in], columns[is_in])]
        self._count = self._k
        self.is_cut = True
        self.floor = torch.nextafter(lowest, torch.full_like(lowest, -torch.inf))[None]
