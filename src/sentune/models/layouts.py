"""The rows of a batch in whatever layout: for modules that need the tokens end to end."""

from __future__ import annotations

import torch
from torch import Tensor

from sentune.engine import packing
from sentune.types import Features


def is_padded(features: Features) -> bool:
    """Whether the features are in the padded layout."""
    return "lengths" not in features


def flat(features: Features, values: Tensor) -> tuple[Tensor, Tensor]:
    """One value per token, `(b, t, ...)` or `(T, ...)`, as `(T, ...)`, and the `(b,)` lengths."""
    if is_padded(features):
        mask = features["attention_mask"].bool()
        return values[mask], mask.sum(dim=1)
    return values, torch.tensor(features["lengths"], dtype=torch.int64, device=values.device)


def unflat(features: Features, tokens: Tensor) -> Tensor:
    """Tokens `(T, ...)` back in the layout of the features; zeros where it has padding."""
    if not is_padded(features):
        return tokens
    mask = features["attention_mask"].bool()
    padded = tokens.new_zeros((*mask.shape, *tokens.shape[1:]))
    padded[mask] = tokens
    return padded


def in_caller_order(features: Features, rows: Tensor) -> Tensor:
    """Rows `(b, ...)` of a batch in any layout, in the order of the caller."""
    return packing.to_caller_order(rows, features["order"]) if "order" in features else rows


def owners(sizes: Tensor) -> Tensor:
    """For each token, the number of its row, `(T,)`, from the `(b,)` tokens of each row."""
    return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
