"""Just before the encoder: pack, pad, lay out for attention, and back to the caller's order.

*Packed*, what a packed encoder runs on: as ragged (`sentune.text.layouts`), but the rows sorted by
length, so that rows of equal length are neighbours, plus `position_ids (T,)` (from 0 in each row),
`cu_seqlens (b+1,)`, `order (b,)`: packed row i is the caller's row `order[i]`, and `blocks`, the
tokens as attention takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from sentune.errors import InputError
from sentune.text.layouts import TOKEN_KEYS, by_length, of_batch, ragged, runs, select
from sentune.types import Features

# Slots that short rows share in attention: enough for a matrix product to be worth its call.
SHARED_WIDTH = 48
# Tokens of rows of one length that are worth a block of their own.
_LONG_RUN = 256
# Pairs of slots, of each head, whose attention takes no longer than to call for one block more.
_WORTH_A_BLOCK = 4096


def pack(features: Features) -> Features:
    """The packed layout of a ragged batch."""
    order = by_length(features["lengths"])
    packed = select(features, order)
    device = packed["input_ids"].device
    lengths = torch.tensor(packed["lengths"], dtype=torch.int64)
    ends = torch.zeros(len(order) + 1, dtype=torch.int32)
    ends[1:] = lengths.cumsum(0)
    starts = torch.repeat_interleave(ends[:-1].long(), lengths)
    packed["position_ids"] = (torch.arange(len(starts)) - starts).to(device)
    packed["cu_seqlens"] = ends.to(device)
    packed["order"] = torch.tensor(order, dtype=torch.int64, device=device)
    packed["blocks"] = blocks(packed["lengths"], device)
    return packed


def spare(tokens: int) -> int:
    """How many tokens to add for a number that comes often: below 16, or 1/32 of what is there.

    Matrix products in half precision on the CPU are compiled for their sizes: each number of tokens
    that is new costs milliseconds for each kind of layer, and memory.
    """
    step = max(16, (1 << tokens.bit_length()) // 64)
    return -tokens % step


def lengthened(features: Features, spare: int) -> Features:
    """A packed batch with some tokens more, behind the last row and part of none."""
    longer = dict(features)
    for key in (*TOKEN_KEYS, "position_ids"):
        if key in features:
            longer[key] = F.pad(features[key], (0, spare))
    return longer


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of a packed batch, laid out in equal widths for attention.

    Attributes:
        tokens: How many tokens they have.
        rows: How many widths they are laid out in; short rows share one.
        width: Slots of each.
        slots: `(tokens,)` the slot of each token, counted over all widths; None if the tokens fill
            every slot in their order.
        fill: `(rows · width,)` the token in each slot, some token in an empty one; None likewise.
        empty: Which slots hold no token of their own; None likewise.
        mask: `(rows or 1, 1, width or 1, width)` which slots see each other; None if all do.
    """

    tokens: int
    rows: int
    width: int
    slots: Tensor | None = None
    fill: Tensor | None = None
    empty: Tensor | None = None
    mask: Tensor | None = None


def blocks(lengths: Sequence[int], device: torch.device | str = "cpu") -> list[Block]:
    """The rows of a packed batch as blocks of a few widths, in order.

    Args:
        lengths: Tokens of each row, ascending.
        device: Where the indices and masks are needed.
    """
    made: list[Block] = []
    for width, sizes in _groups(lengths):
        mixed = list[int]()
        for n, length in runs(sizes):
            if n * length < _LONG_RUN and n < len(sizes):
                mixed += [length] * n
                continue
            made += [_block(mixed, width, device)] if mixed else []
            made += _run(n, length, width, device)
            mixed = []
        made += [_block(mixed, width, device)] if mixed else []
    return made


def _groups(lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Rows of neighbouring lengths, and the width for them."""
    groups: list[tuple[int, list[int]]] = []
    for width, group in groupby((n for n in lengths if n), _width):
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


def _run(n: int, length: int, width: int, device: torch.device | str) -> list[Block]:
    """The blocks of n rows of one length: as they lie, without empty slots."""
    each = min(n, max(1, width // length))  # rows in a width
    parts = [(n // each, each)] + ([(1, n % each)] if n % each else [])
    return [
        Block(rows * some * length, rows, some * length, mask=_diagonal(some, length, device))
        for rows, some in parts
    ]


def _diagonal(rows: int, length: int, device: torch.device | str) -> Tensor | None:
    """The mask `(1, 1, w, w)` of rows that lie end to end in one width; None for one row."""
    if rows == 1:
        return None
    whose = torch.arange(rows, device=device).repeat_interleave(length)
    return (whose[:, None] == whose)[None, None]


def _width(length: int) -> int:
    """The width of the block for a row: a few sizes, at most a quarter wider than the row.

    Rows that fit in twice or more share a width.
    """
    if 2 * length <= SHARED_WIDTH:
        return SHARED_WIDTH
    step = max(8, 1 << max((length - 1).bit_length() - 3, 0))
    return -(-length // step) * step


def _block(sizes: Sequence[int], width: int, device: torch.device | str) -> Block:
    """A block of the rows, as many in a width as fit, in their order."""
    is_shared = 2 * sizes[0] <= width
    owner, start, row, used = [], [], 0, 0
    for size in sizes:
        if used and (not is_shared or used + size > width):
            row, used = row + 1, 0
        owner.append(row)
        start.append(row * width + used)
        used += size
    ends = list(accumulate(sizes))
    tokens, rows = ends[-1], row + 1
    each = torch.tensor(sizes)
    shift = torch.tensor(start) - (torch.tensor(ends) - each)
    slots = torch.arange(tokens) + torch.repeat_interleave(shift, each)
    fill = torch.zeros(rows * width, dtype=torch.int64)
    fill[slots] = torch.arange(tokens)
    # Whose slot it is, from 1; empty slots are nobody's and see each other, so that none sees none.
    whose = torch.zeros(rows * width, dtype=torch.int32)
    whose[slots] = torch.repeat_interleave(torch.arange(1, len(sizes) + 1, dtype=torch.int32), each)
    empty = (whose == 0).nonzero().flatten()
    whose = whose.view(rows, 1, width)
    mask = whose[..., None] == whose[:, :, None, :] if is_shared else (whose > 0)[:, :, None, :]
    slots, fill, empty, mask = (x.to(device) for x in (slots, fill, empty, mask))
    return Block(tokens, rows, width, slots, fill, empty, mask)


def pad(features: Features, pad_id: int = 0, side: str = "right") -> Features:
    """The padded layout of a ragged batch, padded to its longest row.

    Args:
        features: A ragged batch.
        pad_id: Token id that fills the padding of `input_ids`; other keys are filled with 0.
        side: "right" or "left": where the padding goes.
    """
    lengths = torch.tensor(features["lengths"], dtype=torch.int64)
    width = int(lengths.max()) if len(lengths) else 0
    slots = torch.arange(width).expand(len(lengths), width)
    if side == "right":
        mask = slots < lengths[:, None]  # (b, t)
    else:
        mask = slots >= width - lengths[:, None]
    mask = mask.to(features["input_ids"].device)
    padded: Features = {}
    for key in TOKEN_KEYS:
        if key in features:
            fill = pad_id if key == "input_ids" else 0
            rows = features[key].new_full(mask.shape, fill)
            rows[mask] = features[key]
            padded[key] = rows
    padded["attention_mask"] = mask.long()
    if "prompt_lengths" in features:
        padded["prompt_lengths"] = features["prompt_lengths"]
    return {**padded, **of_batch(features)}


def from_padded(features: Features) -> Features:
    """The ragged layout of a padded batch; tokens that the mask leaves out are dropped.

    Raises:
        InputError: If the mask and the token ids have different shapes.
    """
    ids, mask = features["input_ids"], features["attention_mask"].bool()
    if ids.shape != mask.shape:
        raise InputError(
            f"input_ids has shape {tuple(ids.shape)} and attention_mask {tuple(mask.shape)}; "
            "both must be (rows, tokens)"
        )
    lengths = mask.sum(dim=1).tolist()
    prompt_lengths = features.get("prompt_lengths")
    if prompt_lengths is None and features.get("prompt_length"):
        prompt_lengths = [int(features["prompt_length"])] * len(lengths)
    types = features.get("token_type_ids")
    kept = ragged(ids[mask], lengths, None if types is None else types[mask], prompt_lengths)
    return {**kept, **of_batch(features)}


def to_caller_order(rows: Tensor, order: Tensor) -> Tensor:
    """Rows of a packed batch `(b, ...)` in the order of the caller."""
    return rows.index_select(0, torch.argsort(order))


def row_views(tokens: Tensor, lengths: Sequence[int]) -> Iterator[Tensor]:
    """Per run of equal lengths, its tokens as a view `(n, L, ...)` of `tokens (T, ...)`."""
    groups = runs(lengths)
    parts = tokens.split([n * length for n, length in groups])
    for (n, length), part in zip(groups, parts, strict=True):
        yield part.view(n, length, *tokens.shape[1:])


def to_device(features: Features, device: torch.device | str) -> Features:
    """The same features with every tensor on the device."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for key, value in features.items()
    }
