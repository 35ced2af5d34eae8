"""How attention takes the tokens of a packed batch: rows side by side in a few equal widths.

Matrix products want equal shapes, and texts have any length. So the rows of like length are laid
out in a block of one width, a row of slots each; what a row leaves empty is masked. Each head of a
block is a matrix product of its own, so tokens go to their slots and back head by head.

Without gradients a row always gets the same width, whatever stands beside it, so that its result is
the same to the last bit in every batch (a matrix product computes its rows independently of how
many there are). In training, where a batch has a dozen lengths with few rows each, short rows share
a width and a mask keeps them apart: few and well-filled products are faster there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Slots that short rows share in training: enough for a matrix product to be worth its call.
SHARED_WIDTH = 48
# Pairs of slots, of each head, whose attention takes no longer than to call for one block more.
_WORTH_A_BLOCK = 4096


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of a packed batch in equal widths."""

    tokens: int
    rows: int  # widths that they are laid out in; short rows may share one
    width: int  # slots of each
    slots: Tensor  # (tokens,) the slot of each token, counted over all widths; in main memory
    mask: Tensor | None  # (rows, 1, width or 1, width) which slots see each other; None if all do

    @cached_property
    def bias(self) -> Tensor | None:
        """The mask as what is added to scores in float32: 0, or minus infinity."""
        if self.mask is None:
            return None
        zeros = torch.zeros(self.mask.shape, device=self.mask.device)
        return zeros.masked_fill_(~self.mask, float("-inf"))


class Places(NamedTuple):
    """Where the tokens of each head go, and where they come back from."""

    fill: Tensor  # (parts · slots · heads,) for each slot the row of (T · parts · heads, d_head)
    back: Tensor  # the inverse, (T · parts · heads,); any slot for tokens that have none
    spare: Tensor  # rows of `back` without a slot
    tokens: Tensor  # (T · heads,) for each token and head its slot
    slots: Tensor  # the inverse, (slots · heads,); some token for an empty slot
    empty: Tensor  # slots that hold no token of their own


class Layout:
    """The blocks of a packed batch of rows of ascending `lengths`, in tokens.

    `shares`: whether short rows may share a width; `device`: where indices and masks are needed.
    """

    def __init__(
        self, lengths: Sequence[int], *, shares: bool, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.longest = lengths[-1] if lengths else 0
        self.tokens = sum(lengths)
        self.empty = bisect_right(lengths, 0)  # rows without a token
        self._lengths, self._shares = lengths, shares
        self._places: dict[Any, Places] = {}

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks, made when they are asked for: some kernels do without."""
        groups = (_few_groups if self._shares else _groups)(self._lengths)
        return [_block(sizes, width, self.device) for width, sizes in groups]

    @property
    def count(self) -> int:
        """How many slots there are."""
        return sum(block.rows * block.width for block in self.blocks)

    def places(self, heads: int, parts: int, total: int) -> Places:
        """The places of `parts` vectors of `total` tokens, also of those behind the last block."""
        key = heads, parts, total
        if key not in self._places:
            self._places[key] = self._made_places(*key)
        return self._places[key]

    def _made_places(self, heads: int, parts: int, total: int) -> Places:
        owner = torch.zeros(self.count, dtype=torch.int64)  # the token in each slot
        is_empty = torch.ones(self.count, dtype=torch.bool)
        place = torch.zeros(total, heads, dtype=torch.int64)  # of each token and head
        head = torch.arange(heads)
        wide: list[Tensor] = []  # slots in the order (rows, heads, width)
        token = slot = 0
        for block in self.blocks:
            slots = block.slots
            end = slot + block.rows * block.width
            owner[slot:end][slots] = torch.arange(token, token + block.tokens)
            is_empty[slot:end][slots] = False
            row, column = slots // block.width, slots % block.width
            first = slot * heads + row * heads * block.width + column
            place[token : token + block.tokens] = first[:, None] + head * block.width
            numbers = torch.arange(slot, end).view(block.rows, 1, block.width)
            wide.append(numbers.expand(-1, heads, -1).reshape(-1))
            token, slot = token + block.tokens, end
        order = torch.cat(wide) if wide else torch.zeros(0, dtype=torch.int64)
        heads_of = [head.repeat_interleave(b.width).repeat(b.rows) for b in self.blocks]
        which = torch.cat(heads_of) if heads_of else order
        part = torch.arange(parts)[:, None]
        fill = (owner[order] * parts + part) * heads + which  # (parts, slots · heads)
        back = place[:, None] + part * len(order)  # (T, parts, heads)
        spare = torch.arange(token * parts * heads, total * parts * heads)
        found = Places(
            fill.flatten(),
            back.flatten(),
            spare,
            place.flatten(),
            owner[order] * heads + which,
            is_empty[order].nonzero().flatten(),
        )
        return Places(*(_moved(x, self.device) for x in found))


def width_of(length: int) -> int:
    """The width for a row: a few sizes, at most a quarter wider than the row, or 7 slots."""
    step = max(8, 1 << max((length - 1).bit_length() - 3, 0))
    return -(-length // step) * step


def _groups(lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Rows of like length, and the width for them, which each row alone decides."""
    return [(width, list(rows)) for width, rows in groupby((n for n in lengths if n), width_of)]


def _few_groups(lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """As few groups as pay; short rows share widths."""

    def wide(length: int) -> int:
        return SHARED_WIDTH if 2 * length <= SHARED_WIDTH else width_of(length)

    groups: list[tuple[int, list[int]]] = []
    for width, group in groupby((n for n in lengths if n), wide):
        sizes = list(group)
        if groups:
            widest, both = max(width, groups[-1][0]), groups[-1][1] + sizes
            if _pairs(widest, both) < _pairs(*groups[-1]) + _pairs(width, sizes) + _WORTH_A_BLOCK:
                groups[-1] = widest, both
                continue
        groups.append((width, sizes))
    return groups


def _pairs(width: int, sizes: Sequence[int]) -> int:
    """How many pairs of slots a block has, about."""
    rows = -(-sum(sizes) // width) if 2 * sizes[0] <= width else len(sizes)
    return rows * width**2


def _block(sizes: Sequence[int], width: int, device: torch.device) -> Block:
    """A block of the rows, in their order; as many in a width as fit where the shortest allow it.

    A width of its own is less than twice its row, which shows whether rows share one.
    """
    is_shared = 2 * sizes[0] <= width and width >= SHARED_WIDTH
    start, row, used = [], -1, width
    for size in sizes:
        if not is_shared or used + size > width:
            row, used = row + 1, 0
        start.append(row * width + used)
        used += size
    each, ends = torch.tensor(sizes), torch.tensor(list(accumulate(sizes)))
    shift = torch.tensor(start) - (ends - each)
    tokens, rows = int(ends[-1]), row + 1
    slots = torch.arange(tokens) + torch.repeat_interleave(shift, each)
    mask = None
    if tokens < rows * width or is_shared:
        # Whose slot it is, from 1; empty slots are nobody's and see each other, so that none sees
        # none.
        whose = torch.zeros(rows * width, dtype=torch.int32)
        whose[slots] = torch.arange(1, len(sizes) + 1, dtype=torch.int32).repeat_interleave(each)
        whose = whose.view(rows, 1, width)
        mask = whose[..., None] == whose[:, :, None, :] if is_shared else (whose > 0)[:, :, None, :]
        mask = _moved(mask, device)
    return Block(tokens, rows, width, slots, mask)


def _moved(x: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; CUDA goes on with its work meanwhile."""
    return x.to(device, non_blocking=device.type == "cuda")
