"""Pooling of packed tokens on an accelerator: all rows at once, whatever their lengths.

A call per length, as is fast on the CPU, would leave an accelerator waiting for the next call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pool(
    tokens: Tensor, starts: Tensor, modes: Sequence[str], weight_sum: Tensor | None = None
) -> Tensor:
    """What each mode (`sentune.models.pooling.MODES`) makes of each row: `(b, d · modes)`.

    `tokens` is `(T, d)`, `starts (b+1,)` where each row begins, and the end; `weight_sum (b,)` what
    to divide a sum by in place of the number of tokens.
    """
    first, end = starts[:-1].long(), starts[1:].long()
    lengths = end - first
    whole = lengths.float() if weight_sum is None else weight_sum
    results = []
    for mode in modes:
        if mode == "cls":
            found = _at(tokens, first, lengths)
        elif mode == "lasttoken":
            found = _at(tokens, end - 1, lengths)
        elif mode == "max":
            found = _reduced(tokens, lengths, "max").masked_fill(lengths[:, None] == 0, 0)
        elif mode == "mean":
            found = _sum(tokens, lengths) / _divisor(whole)
        elif mode == "mean_sqrt_len_tokens":
            found = _sum(tokens, lengths) / _divisor(whole).sqrt()
        else:
            place = torch.arange(1, len(tokens) + 1, device=tokens.device)
            place = place - torch.repeat_interleave(first, lengths, output_size=len(tokens))
            total = _sum(wide(tokens) * place[:, None], lengths)
            by_place = (lengths * (lengths + 1) / 2).float() if weight_sum is None else weight_sum
            found = total / _divisor(by_place)
        results.append(found.to(tokens.dtype))
    return results[0] if len(results) == 1 else torch.cat(results, dim=1)


def _at(tokens: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
    """The tokens in some places, zeros for rows without a token."""
    found = tokens.index_select(0, places.clamp(0, len(tokens) - 1))
    return found.masked_fill(lengths[:, None] == 0, 0)


def _divisor(sums: Tensor) -> Tensor:
    return sums[:, None].clamp(min=1e-9)


def _sum(tokens: Tensor, lengths: Tensor) -> Tensor:
    """The sum of each row, in float32 at least."""
    return _reduced(wide(tokens), lengths, "sum")


def wide(tokens: Tensor) -> Tensor:
    """The tokens in float32 at least."""
    return tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens


def _reduced(tokens: Tensor, lengths: Tensor, how: str) -> Tensor:
    """`(b, d)`; always in the same order, unlike a sum by index."""
    return torch.segment_reduce(tokens, how, lengths=lengths, unsafe=True)
