"""Dropout at the speed of the rest, on the CPU.

torch draws a random double per element there, which takes as long as a matrix product of a small
encoder. Here 16 random bits per element decide, drawn by numpy's SFC64 from a seed that torch's own
generator gives: so `torch.manual_seed`, a restored random state and `torch.utils.checkpoint` repeat
it as they repeat torch's. The rate is rounded to 1/65536 and the scale follows the rounded rate, so
that the mean stays exact. Other devices, and rates that need no bits, take torch's dropout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_LEVELS = 1 << 16


def dropout(x: Tensor, p: float) -> Tensor:
    """`x` with a share `p` of its elements set to 0 and the others scaled by 1/(1-p).

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting".
    """
    if x.device.type != "cpu" or not 0 < _dropped(p) < _LEVELS:
        return F.dropout(x, p, training=True)
    return _Dropout.apply(x, p)


def kept_at_random(shape: torch.Size, p: float, dtype: torch.dtype) -> tuple[Tensor | None, float]:
    """1 where an element is kept, 0 where it is dropped, and the factor on those that are kept.

    The numbers are of the elements' type, to which torch would convert them; None if all are kept.
    """
    dropped, count = _dropped(p), shape.numel()
    if dropped <= 0:
        return None, 1.0
    if dropped >= _LEVELS:
        return torch.zeros(shape, dtype=dtype), 0.0
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw(-(-count // 4))  # four draws in each
    draws = torch.from_numpy(words.view(np.int16)[:count])
    kept = torch.empty(count, dtype=dtype)
    torch.ge(draws, dropped - _LEVELS // 2, out=kept)
    return kept.view(shape), _LEVELS / (_LEVELS - dropped)


def _dropped(p: float) -> int:
    """How many of the levels of a draw mean that an element is dropped."""
    return round(p * _LEVELS)


class _Dropout(torch.autograd.Function):
    """Keeps which elements were dropped for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        kept: Any
        kept, ctx.factor = kept_at_random(x.shape, p, x.dtype)
        ctx.save_for_backward(kept)
        return (x * kept).mul_(ctx.factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradient * kept).mul_(ctx.factor), None
