"""Attention over packed sentences, plugged into transformers by name.

In the packed layout the sentences of a batch lie end to end, `(1, T)` tokens, sorted by length. A
run of n sentences of length L is then a view `(n, heads, L, d_head)`, and takes one call of
`scaled_dot_product_attention` without a mask: nothing is padded and no sentence sees another.
Everything else in the encoder works on single tokens and needs to know nothing.

A batch without `packed_runs` (somebody calls the encoder itself with padded tokens) takes
transformers' own SDPA, with its own mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sentune.models.dropout import dropout as own_dropout

# No "flash" and no slash in the name: transformers gives both a meaning.
NAME = "sentune_packed"

# Encoders whose attention goes through transformers' interface, reads its keyword arguments, and
# whose every other part works token by token.
PACKABLE = frozenset(
    {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "modernbert"}
)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    packed_runs: list[tuple[int, int]] | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of each sentence over itself, in the signature of transformers' interface.

    Args:
        module: The attention layer that calls.
        query: `(1, heads, T, d_head)`, as are key and value.
        key: As query.
        value: As query.
        attention_mask: Not read for a packed batch.
        dropout: Share of attention weights dropped.
        scaling: Factor on the scores; None for 1/sqrt(d_head).
        packed_runs: `(n, L)` per run of n sentences of length L; None for a padded batch.
        sliding_window: Tokens i and j see each other if |i - j| is less than this; None for all.
        **kwargs: Passed on for a padded batch.

    Returns:
        `(1, T, heads, d_head)`, and None for the attention weights.
    """
    if packed_runs is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    sizes = [n * length for n, length in packed_runs]
    # `split` and not slices: its backward is one `cat`, that of a slice a zero-filled whole.
    parts = zip(*(x[0].split(sizes, dim=1) for x in (query, key, value)), strict=True)
    outputs = []
    for (n, length), part in zip(packed_runs, parts, strict=True):
        q, k, v = (x.unflatten(1, (n, length)).transpose(0, 1) for x in part)
        mask = _window(length, sliding_window, query.device)
        output = _attend(q, k, v, mask, dropout, scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))  # (n·L, heads, d_head)
    return torch.cat(outputs)[None], None


def no_mask(like: Tensor) -> Tensor:
    """A mask that transformers hands on untouched and `packed_attention` does not read.

    With None in its place, some encoders would build a (T, T) mask over the whole pack.
    """
    return like.new_zeros((1, 1, 1, 1), dtype=torch.bool)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scale: float | None
) -> Tensor:
    """Attention of one run, `(n, heads, L, d_head)`."""
    if not dropout or q.device.type != "cpu":
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale
        )
    # With dropout torch computes it step by step too on the CPU, with its slow random numbers.
    scores = torch.matmul(q * (scale or q.shape[-1] ** -0.5), k.transpose(-1, -2))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.matmul(own_dropout(scores.softmax(dim=-1), dropout), v)


def _window(length: int, width: int | None, device: torch.device) -> Tensor | None:
    """Which tokens of a sentence see each other, `(L, L)`; None where all do."""
    if width is None or length <= width:
        return None
    place = torch.arange(length, device=device)
    return (place[:, None] - place[None, :]).abs() < width


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
