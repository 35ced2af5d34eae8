"""Scores by tiles: blocks of a matrix of scores that is never whole in memory.

A tile is computed into memory that stays in the caches, and only the scores above a floor leave it.
Where the chip multiplies bfloat16, a tile is first computed in it. The error of that is bounded for
each pair, so what could be above the floor is known, and only that is scored in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sentune.machine.device import multiplies_bfloat16
from sentune.vectors.similarity import (
    Similarity,
    cos_sim,
    dot_score,
    function_of,
    normalize_embeddings,
    pairwise_dot_score,
    to_rows,
)

ROWS = 1024
COLUMNS = 2048  # with so many rows a tile takes 8 MiB, which a core reads back fast
SCORES = ROWS * COLUMNS  # in one tile
WIDEST = 16_384  # columns of a tile of few rows
NO_LIMIT = (SCORES, SCORES)
NUMBERS = 1 << 22  # of embeddings that are prepared at a time: 16 MiB, and half as much in bfloat16
_AGAIN = 1 << 18  # numbers of pairs that are scored again at a time
_BITS = torch.int16  # what numbers in bfloat16 are compared as
_RARE = 400  # columns for each one that is wanted, from which on few pairs are scored again
_FEWEST = 512  # rows from which on it pays to round the columns
_NARROWEST = 64  # numbers of a row from which on its product takes longer than looking at it
_LITTLE = 64  # the part of a tile that leaves it as single hits
_SMALLEST = 2.0**-63  # its square and what is below may count as zero, as in any length


def pays_to_screen(rows: Tensor, columns: int, k: int) -> bool:
    """Whether to round the columns and score the best pairs again takes less than it saves.

    Args:
        rows: `(b, d)`, compared with the columns.
        columns: How many.
        k: How many of them are wanted for each row.
    """
    is_large = len(rows) >= _FEWEST and rows.shape[-1] >= _NARROWEST
    return is_large and columns >= columns_to_screen(k)


def columns_to_screen(k: int) -> int:
    """From how many columns on a first pass may pay where `k` are wanted."""
    return max(_RARE * k, COLUMNS)


@dataclass(frozen=True)
class Rounded:
    """Embeddings in bfloat16, and what rounding took away."""

    rows: Tensor  # (n, d)
    length: Tensor  # (n,) of the exact rows, at most
    error: Tensor  # (n,) the length of what was rounded off, at most

    def part(self, rows: slice) -> Rounded:
        """Some of the rows."""
        return Rounded(self.rows[rows], self.length[rows], self.error[rows])


@dataclass(frozen=True)
class Rows:
    """Embeddings `(n, d)` ready to be compared."""

    exact: Tensor
    rounded: Rounded | None = None  # None where no first pass is made

    def part(self, rows: slice) -> Rows:
        """Some of the rows."""
        return Rows(self.exact[rows], self.rounded and self.rounded.part(rows))


class Hits(NamedTuple):
    """Places in a tile and their scores, `(h,)` each, ordered by row, then column."""

    rows: Tensor
    columns: Tensor
    scores: Tensor

    def keep(self, is_kept: Tensor) -> Hits:
        """Some of them."""
        return Hits(*(part[is_kept] for part in self))

    def turned(self) -> Hits:
        """The same of the tile turned round."""
        order = self.columns.argsort(stable=True)
        return Hits(self.columns[order], self.rows[order], self.scores[order])


class Comparison:
    """How rows are scored against each other: by tiles, with one memory for all of them.

    Args:
        score: Scores of all pairs, `(q, d), (c, d) -> (q, c)`; higher is nearer.
        is_screened: Whether a first pass in bfloat16 may pay; it is made where it is possible.
        largest: Rows and columns that a function of a user's own is given at most.
    """

    def __init__(
        self,
        score: Similarity,
        is_screened: bool = False,
        largest: tuple[int, int] = NO_LIMIT,
    ) -> None:
        score = function_of(score)
        self.is_cosine = score is cos_sim  # lengths are divided out once, not in each tile
        self.is_product = self.is_cosine or score is dot_score
        self.score = score
        self.is_screened = is_screened and self.is_product
        self.largest = NO_LIMIT if self.is_product else largest
        self._memory: dict[torch.dtype, Tensor] = {}

    def tile(self, rows: Tensor) -> tuple[int, int]:
        """Rows and columns of a tile, where these rows `(b, d)` are compared."""
        height = max(1, min(ROWS, len(rows), self.largest[0]))
        prepared = max(COLUMNS, NUMBERS // max(1, rows.shape[-1]))
        width = min(SCORES // height // 8 * 8, WIDEST, prepared)
        return height, min(width, self.largest[1])

    def rows(self, embeddings: Tensor) -> Rows:
        """What is to be compared, prepared."""
        rows = to_rows(embeddings).detach()
        if self.is_cosine:
            rows = normalize_embeddings(rows)
        elif self.is_product and not rows.is_floating_point():
            rows = rows.double()  # whole numbers stay exact
        if not self.is_screened or rows.dtype != torch.float32:
            return Rows(rows)
        # CUDA may add up parts of a product in bfloat16, for which the bound has no room.
        if rows.device.type != "cpu" or not multiplies_bfloat16("cpu"):
            return Rows(rows)
        smallest = _SMALLEST * math.sqrt(rows.shape[1])
        length = torch.linalg.vector_norm(rows, dim=1) + smallest
        if not bool((length < 1e18).all()):  # else rounded products may be infinite, or are NaN
            return Rows(rows)
        rounded = rows.bfloat16()
        error = torch.linalg.vector_norm(rows - rounded, dim=1) + smallest
        return Rows(rows, Rounded(rounded, length, error))

    def scores(self, left: Rows, right: Rows) -> Tensor:
        """All scores of a tile, `(rows, columns)`; they are there until the next is computed."""
        if not self.is_product:
            scores = self.score(left.exact, right.exact).detach()
            return scores if scores.is_floating_point() else scores.double()
        if left.exact.dtype != right.exact.dtype or left.exact.shape[1:] != right.exact.shape[1:]:
            return dot_score(left.exact, right.exact)
        return self._product(left.exact, right.exact)

    def of_pairs(self, left: Rows, rows: Tensor, right: Rows, columns: Tensor) -> Tensor:
        """The scores of some pairs, `(h,)`, each by itself: equal texts have equal scores."""
        count = max(1, _AGAIN // max(1, left.exact.shape[1]))
        parts = zip(rows.split(count), columns.split(count), strict=True)
        # `index_select` copies rows three times as fast as indexing does.
        return torch.cat(
            [
                pairwise_dot_score(left.exact.index_select(0, i), right.exact.index_select(0, j))
                for i, j in parts
            ]
        )

    def above(
        self, left: Rows, right: Rows, floors: Tensor, column_floors: Tensor | None = None
    ) -> Hits | Tensor:
        """What is above the floor of its row, `(rows,)`, or above the one of its column.

        Where that is much of the tile, it is all of its scores, as of `scores`: single hits would
        take longer.
        """
        both = [floors] if column_floors is None else [floors, column_floors]
        if any(bool((one == -torch.inf).all()) for one in both):
            return self.scores(left, right)
        if left.rounded is not None and right.rounded is not None:
            is_high = self._maybe_above(left.rounded, right.rounded, floors, column_floors)
            if _is_little(is_high):
                return self._scored_again(left, right, is_high, floors, column_floors)
        scores = self.scores(left, right)
        is_high = _is_above(scores, floors, column_floors)
        return _hits(scores, is_high) if _is_little(is_high) else scores

    def _maybe_above(
        self, left: Rounded, right: Rounded, floors: Tensor, column_floors: Tensor | None
    ) -> Tensor:
        """Where a tile may be above a floor, `(rows, columns)`, by a first pass in bfloat16."""
        rounded = self._product(left.rows, right.rows)
        is_high = _at_least(rounded, (floors - _bound(left, right))[:, None])
        if column_floors is not None:
            is_high |= _at_least(rounded, (column_floors - _bound(right, left))[None])
        return is_high

    def _scored_again(
        self,
        left: Rows,
        right: Rows,
        is_high: Tensor,
        floors: Tensor,
        column_floors: Tensor | None,
    ) -> Hits:
        """What is above a floor among the pairs that may be."""
        places = _places(is_high)
        width = is_high.shape[1]
        rows, columns = places // width, places % width
        hits = Hits(rows, columns, self.of_pairs(left, rows, right, columns))
        is_high = hits.scores > floors[rows]
        if column_floors is not None:
            is_high |= hits.scores > column_floors[columns]
        return hits.keep(is_high)

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        count = len(left) * len(right)
        memory = self._memory.get(left.dtype)
        if memory is None or len(memory) < count or memory.device != left.device:
            memory = self._memory[left.dtype] = left.new_empty(count)
        return torch.mm(left, right.T, out=memory[:count].view(len(left), len(right)))


def hits_above(scores: Tensor, floors: Tensor) -> Hits:
    """What of a whole tile is above the floor of its row."""
    return _hits(scores, _is_above(scores, floors))


def _is_above(scores: Tensor, floors: Tensor, column_floors: Tensor | None = None) -> Tensor:
    is_high = scores > floors[:, None]
    if column_floors is not None:
        is_high |= scores > column_floors
    return is_high


def _hits(scores: Tensor, is_high: Tensor) -> Hits:
    places = _places(is_high)
    width = scores.shape[1]
    return Hits(places // width, places % width, scores.flatten()[places])


def _is_little(mask: Tensor) -> bool:
    return int(torch.count_nonzero(mask)) * _LITTLE <= mask.numel()


def _bound(left: Rounded, right: Rounded) -> Tensor:
    """By how much a score in bfloat16 may be too low before it is rounded, for each row, `(rows,)`.

    With `a' = a - da` and `b' = b - db` rounded, `|ab - a'b'| <= |da| |b| + |a'| |db|`; summing up
    `d` products in float32 adds `d * 2**-24 |a'| |b'|`, twice that since pairs are rounded too. The
    last rounding needs no room: it keeps order, and the floor is rounded in the same way. Each step
    may lose what is below `2**-126`, for which `_SMALLEST` leaves room.
    """
    longest, farthest = right.length.max(), right.error.max()
    shortened = left.length + left.error
    summed = (left.rows.shape[1] + 8) * 2.0**-23 * shortened * (longest + farthest)
    return left.error * longest + shortened * farthest + summed


def _at_least(scores: Tensor, floors: Tensor) -> Tensor:
    """Where scores in bfloat16 reach the floors."""
    floors = floors.to(scores.dtype)
    if bool((floors > 0).all()):  # then the order of the bits is the order of the numbers
        return scores.view(_BITS) >= floors.contiguous().view(_BITS)
    return scores >= floors


def _places(mask: Tensor) -> Tensor:
    """The places of what is true in a mask, counted row by row, ascending."""
    flat = mask.flatten()
    if len(flat) % 8 or not len(flat):
        return flat.nonzero().squeeze(1)
    eights = flat.view(torch.int64).nonzero().squeeze(1)  # few are true: eight are read as one
    inner = flat.view(-1, 8)[eights].nonzero()
    return eights[inner[:, 0]] * 8 + inner[:, 1]
