"""Pairs of rows with their scores, and how they become lists."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

_MOST = 2**63


class Pairs(NamedTuple):
    """Pairs of rows, `(p,)` each, the highest score first."""

    scores: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def take(self, places: np.ndarray | slice) -> Pairs:
        """Some of them."""
        return Pairs(self.scores[places], self.rows[places], self.columns[places])

    def in_order(self) -> Pairs:
        """The same, the highest score first; those of equal score by row, then by column."""
        order = np.argsort(-self.scores)
        is_equal = np.diff(self.scores[order]) == 0
        if not is_equal.any():
            return self.take(order)
        is_new = np.append(True, ~is_equal)
        tied = np.flatnonzero(~is_new | np.append(is_equal, False))
        at = order[tied]  # runs of equal scores stay where they are
        runs, rows, columns = np.cumsum(is_new[tied]), self.rows[at], self.columns[at]
        count = int(columns.max()) + 1
        if int(runs[-1]) * count**2 < _MOST:  # one number says all three: its sort is fast
            order[tied] = at[np.argsort((runs * count + rows) * count + columns)]
        else:
            order[tied] = at[np.lexsort((columns, rows, runs))]
        return self.take(order)

    def within_ranks(self, k: int) -> Pairs:
        """Those where one row is among the `k` nearest of the other.

        The pairs must be all from some score on: then the place of a pair among those of its row is
        the rank of its column.
        """
        ends = np.stack([self.rows, self.columns], axis=1).ravel()
        places = np.arange(len(ends))
        bits = len(ends).bit_length()
        ordered = (ends << bits) | places  # by row, then by place; a sort of numbers is fast
        ordered.sort()
        at = ordered & ((1 << bits) - 1)
        is_first: np.ndarray = np.diff(ordered >> bits, prepend=-1) != 0
        rank = places - np.maximum.accumulate(np.where(is_first, places, 0))
        is_near = np.zeros(len(ends), dtype=bool)
        is_near[at[rank < k]] = True
        return self.take(np.logical_or(is_near[::2], is_near[1::2]))

    def as_lists(self, most: int) -> list[list[float | int]]:
        """The first of them as `[[score, i, j], ...]`."""
        with uncollected():
            columns = (part.tolist() for part in self.take(slice(most)))
            return [[score, row, column] for score, row, column in zip(*columns, strict=True)]


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside the block nobody looks for rings of objects, which takes longer than making lists."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
