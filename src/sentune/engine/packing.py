"""Just before the encoder: pack, pad, lay out for attention, and back to the caller's order.

*Packed*, what a packed encoder runs on: as ragged (`sentune.text.layouts`), but the rows sorted by
length, so that rows of equal length are neighbours, plus `position_ids (T,)` (from 0 in each row),
`cu_seqlens (b+1,)`, `order (b,)`: packed row i is the caller's row `order[i]`, and `layout`, how
attention takes the tokens (`sentune.engine.slots`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sentune.engine.slots import Layout
from sentune.errors import InputError
from sentune.text.layouts import TOKEN_KEYS, by_length, of_batch, prompts_in, ragged, runs, select
from sentune.types import Features


def pack(features: Features, device: torch.device | str | None = None) -> Features:
    """The packed layout of a ragged batch, on a device; None for where its tokens are."""
    order = by_length(features["lengths"])
    packed = select(features, order)
    # By numpy, without threads: torch's would wait where a tokenizer uses all cores.
    sizes = np.asarray(packed["lengths"], dtype=np.int64)
    ends = np.zeros(len(order) + 1, dtype=np.int32)
    sizes.cumsum(out=ends[1:])
    packed["position_ids"] = np.arange(ends[-1]) - np.repeat(ends[:-1].astype(np.int64), sizes)
    packed["cu_seqlens"] = ends
    packed["order"] = np.asarray(order, dtype=np.int64)
    packed = to_tensors(packed)
    device = packed["input_ids"].device if device is None else device
    packed = to_device(packed, device)
    # In training few calls count; without gradients a row's result must not depend on the others.
    packed["layout"] = Layout(packed["lengths"], shares=torch.is_grad_enabled(), device=device)
    return packed


def spare(tokens: int) -> int:
    """How many tokens to add for a recurring number: below 16, or 1/32 of what is there.

    Matrix products in half precision on the CPU are compiled for their sizes: each new number of
    tokens costs milliseconds for each kind of layer, and memory.
    """
    step = max(16, (1 << tokens.bit_length()) // 64)
    return -tokens % step


def lengthened(features: Features, spare: int) -> Features:
    """A packed batch with some more tokens, behind the last row and part of none."""
    longer = dict(features)
    for key in (*TOKEN_KEYS, "position_ids"):
        if key in features:
            longer[key] = F.pad(features[key], (0, spare))
    return longer


def pad(features: Features, pad_id: int = 0, side: str = "right") -> Features:
    """The padded layout of a ragged batch; `pad_id` fills `input_ids`, and 0 the other keys."""
    features = to_tensors(features)
    lengths = torch.tensor(features["lengths"], dtype=torch.int64)
    width = int(lengths.max()) if len(lengths) else 0
    slots = torch.arange(width).expand(len(lengths), width)
    each = lengths[:, None]
    mask = slots < each if side == "right" else slots >= width - each  # (b, t)
    mask = mask.to(features["input_ids"].device)
    padded: Features = {}
    for key in TOKEN_KEYS:
        if key in features:
            padded[key] = features[key].new_full(mask.shape, pad_id if key == "input_ids" else 0)
            padded[key][mask] = features[key]
    padded["attention_mask"] = mask.long()
    prompts = features.get("prompt_lengths")
    if prompts and len(set(prompts)) == 1:  # as modules from elsewhere read it
        padded["prompt_length"] = prompts[0]
    elif prompts:
        padded["prompt_lengths"] = prompts
    return {**padded, **of_batch(features)}


def from_padded(features: Features) -> Features:
    """The ragged layout of a padded batch; tokens that the mask leaves out are dropped."""
    ids, mask = features["input_ids"], features["attention_mask"].bool()
    if ids.shape != mask.shape:
        raise InputError(
            f"input_ids has shape {tuple(ids.shape)} and attention_mask {tuple(mask.shape)}; "
            "both must be (rows, tokens)"
        )
    lengths = mask.sum(dim=1).tolist()
    prompt_lengths = prompts_in(features, len(lengths))
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


def to_tensors(features: Features) -> Features:
    """The same features with torch's arrays in the place of numpy's."""
    return {
        key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for key, value in features.items()
    }
