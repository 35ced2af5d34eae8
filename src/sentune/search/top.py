"""The highest scores of each row, exactly, and in an order that does not depend on chance.

Equal scores are ordered by column, lowest first, whatever the chunks that the columns came in.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 64  # columns that share one maximum


class Best(NamedTuple):
    """The highest scores of each row, `(b, k)`, descending, and the columns they are in."""

    scores: Tensor
    columns: Tensor

    def shift(self, columns: int) -> Best:
        """The same, as part of a wider matrix."""
        return Best(self.scores, self.columns + columns)

    def merge(self, later: Best, k: int) -> Best:
        """The highest of both."""
        scores = torch.cat([self.scores, later.scores], dim=1)
        columns = torch.cat([self.columns, later.columns], dim=1)
        # Stable, and the columns to the right come second: equal scores stay ordered by column.
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        return Best(scores[:, :k], columns.gather(1, order[:, :k]))


def highest(scores: Tensor, k: int) -> Best:
    """The `k` highest scores of each row of `(b, n)`; all of them where there are fewer."""
    width = scores.shape[1]
    if k >= width:
        return _sorted(scores, k)
    if width < 4 * k * BLOCK:
        return _select(scores, k)
    # The k highest are in the k blocks with the highest maxima, and the other scores need one
    # pass of comparisons only. Blocks of equal maxima are taken from the left, so that equal
    # scores are found from the left too. The columns that fill no block are candidates as well.
    whole = width - width % BLOCK
    maxima = scores[:, :whole].unflatten(1, (-1, BLOCK)).amax(dim=2)  # (b, n / BLOCK)
    blocks = _select(maxima, k).columns.sort(dim=1).values
    inside = torch.arange(BLOCK, device=scores.device)
    columns = (blocks.unsqueeze(2) * BLOCK + inside).flatten(1)  # (b, k·BLOCK), ascending
    rest = torch.arange(whole, width, device=scores.device).expand(len(scores), -1)
    columns = torch.cat([columns, rest], dim=1)
    best = _select(scores.gather(1, columns), k)
    return Best(best.scores, columns.gather(1, best.columns))


def _select(scores: Tensor, k: int) -> Best:
    """As `highest`, for rows of moderate width, `k` less than it."""
    found = scores.topk(k + 1, dim=1)  # one more, to see whether the last place is shared
    best = by_score(Best(found.values[:, :k], found.indices[:, :k]))
    is_shared = found.values[:, k - 1] == found.values[:, k]
    if is_shared.any():
        rows = is_shared.nonzero().squeeze(1)
        exact = _sorted(scores[rows], k)
        best = Best(
            best.scores.index_copy(0, rows, exact.scores),
            best.columns.index_copy(0, rows, exact.columns),
        )
    return best


def _sorted(scores: Tensor, k: int) -> Best:
    values, columns = scores.sort(dim=1, descending=True, stable=True)
    return Best(values[:, :k], columns[:, :k])


def by_score(best: Best) -> Best:
    """The same, highest first, and equal scores in the order of their columns."""
    columns, order = best.columns.sort(dim=1)
    scores, again = best.scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return Best(scores, columns.gather(1, again))
