"""Attention step by step, for training on the CPU.

torch has one kernel for attention, but on the CPU none with dropout, and its backward in half
precision takes several times as long as the matrix products that it is made of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sentune.engine.dropout import kept_at_random
from sentune.machine.device import multiplied_in


def suits(query: Tensor, dropout: float) -> bool:
    """Whether the steps are faster than torch's kernel."""
    is_trained = torch.is_grad_enabled() and query.requires_grad
    is_half = query.dtype != torch.float32 or multiplied_in("cpu") is not None
    return query.is_cpu and (dropout > 0 or (is_trained and is_half))


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scale: float | None
) -> Tensor:
    """Attention of `(rows, heads, width, d_head)`, the same shape; `scale` None: 1/sqrt(d_head).

    The mask is True where slots see each other, and broadcasts to `(rows, heads, width, width)`.
    """
    dtype = multiplied_in("cpu")
    if dtype is not None:
        q, k, v = (x.to(dtype) for x in (q, k, v))
    found: Any = _Attention.apply(q, k, v, mask, dropout, scale or q.shape[-1] ** -0.5)
    return found


class _Attention(torch.autograd.Function):
    """softmax(scale · q kᵀ) v, with dropout on the weights."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scale: float
    ) -> Tensor:
        shape = q.shape
        q = q * scale
        q, k, v = (x.reshape(-1, *shape[2:]) for x in (q, k, v))  # (rows · heads, width, d_head)
        scores = torch.bmm(q, k.transpose(1, 2))  # (rows · heads, width, width)
        if mask is not None:
            scores.view(*shape[:3], -1).masked_fill_(~mask, float("-inf"))
        weights = torch.softmax(scores, dim=-1, out=scores)
        kept, factor = kept_at_random(weights.shape, dropout, weights.dtype)
        used = weights if kept is None else weights * kept
        v = v * factor
        ctx.save_for_backward(q, k, v, weights, kept, used)
        ctx.scale, ctx.factor = scale, factor
        return torch.bmm(used, v).view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, kept, used = ctx.saved_tensors
        shape = gradient.shape
        g = gradient.reshape(-1, *shape[2:])
        of_v = torch.bmm(used.transpose(1, 2), g).mul_(ctx.factor)
        of_used = torch.bmm(g, v.transpose(1, 2))
        of_weights = of_used if kept is None else of_used.mul_(kept)
        # In place: fresh memory of this size takes as long as the step itself.
        of_scores = torch.ops.aten._softmax_backward_data.out(
            of_weights, weights, -1, weights.dtype, grad_input=of_weights
        )
        of_q = torch.bmm(of_scores, k).mul_(ctx.scale)
        of_k = torch.bmm(of_scores.transpose(1, 2), q)
        return of_q.view(shape), of_k.view(shape), of_v.view(shape), None, None, None
