"""The rows of a batch in whatever layout: for modules that need the tokens end to end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sentune.engine import packing
from sentune.types import Features


def is_padded(features: Features) -> bool:
    """Whether the features are in the padded layout."""
    return "lengths" not in features


def mask_of(features: Features, values: Tensor) -> Tensor:
    """Which of the padded `values (b, t, ...)` count, `(b, t)`: by mask, by lengths, else all."""
    if "attention_mask" in features:
        return features["attention_mask"].bool()
    if "sentence_lengths" in features:
        return _slots(features["sentence_lengths"], values.shape[1])
    return values.new_ones(values.shape[:2], dtype=torch.bool)


def padded(features: Features) -> Features:
    """Padded features of flattened ones, as the library's flash attention takes them.

    Those hold the tokens of all rows end to end, `token_embeddings (1, T, d)`, and where each row
    ends, `cu_seq_lens_q (b + 1,)`.
    """
    sizes = features["cu_seq_lens_q"].diff()
    tokens = features["token_embeddings"].flatten(0, -2).split(sizes.tolist())
    whole = nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
    mask = _slots(sizes, whole.shape[1])
    return {**features, "token_embeddings": whole, "attention_mask": mask.long()}


def flat(features: Features, values: Tensor) -> tuple[Tensor, Tensor]:
    """One value per token, `(b, t, ...)` or `(T, ...)`, as `(T, ...)`, and the `(b,)` lengths."""
    if is_padded(features):
        mask = mask_of(features, values)
        return values[mask], mask.sum(dim=1)
    return values, torch.tensor(features["lengths"], dtype=torch.int64, device=values.device)


def unflat(features: Features, tokens: Tensor) -> Tensor:
    """Tokens `(T, ...)` back in the layout of the features; zeros where it has padding."""
    if not is_padded(features):
        return tokens
    mask = mask_of(features, features["token_embeddings"])
    padded = tokens.new_zeros((*mask.shape, *tokens.shape[1:]))
    padded[mask] = tokens
    return padded


def in_caller_order(features: Features, rows: Tensor) -> Tensor:
    """Rows `(b, ...)` of a batch in any layout, in the order of the caller."""
    return packing.to_caller_order(rows, features["order"]) if "order" in features else rows


def owners(sizes: Tensor) -> Tensor:
    """For each token, the number of its row, `(T,)`, from the `(b,)` tokens of each row."""
    return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)


def _slots(sizes: Tensor, width: int) -> Tensor:
    """Which of `width` slots hold the tokens of rows of the given `(b,)` sizes, `(b, width)`."""
    return torch.arange(width, device=sizes.device) < sizes[:, None]
