"""Rows of an embedding table, whose gradient takes the same memory in every step of a training.

The gradient of a table is a table: for a small encoder half of all gradients, and nearly all of it
zeros. On the CPU a fresh one costs ten times as much as to clear the one of the step before, since
the system has to hand out its pages first. So while a model is trained, the memory of a table's
gradient is kept and used again once nobody else holds it. Other devices keep memory by themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Buffers:
    """Memory for the gradients of the tables of a model in training."""

    def __init__(self) -> None:
        self._buffers: dict[int, _Buffer] = {}

    def of(self, weight: Tensor) -> _Buffer:
        """The memory for a table."""
        return self._buffers.setdefault(id(weight), _Buffer())


def look_up(
    numbers: Tensor, weight: Tensor, padding: int | None, buffers: Buffers | None = None
) -> Tensor:
    """The rows `(..., d)` of a table `(v, d)` by number; the row `padding` gets no gradient."""
    is_trained = torch.is_grad_enabled() and weight.requires_grad
    if buffers is None or not is_trained or not weight.is_cpu:
        return F.embedding(numbers, weight, padding)
    rows: Any = _Rows.apply(weight, numbers, buffers.of(weight), padding)
    return rows


class _Buffer:
    """Memory for a tensor, used again when nobody holds what was made in it."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def zeros_like(self, weight: Tensor) -> Tensor:
        """Zeros of the shape and type of a tensor."""
        held = self._held
        if held is None or held.shape != weight.shape or held.dtype != weight.dtype:
            held = self._held = torch.zeros_like(weight, requires_grad=False)
            return held.detach()
        if _holders(held) > 1:
            return torch.zeros_like(weight, requires_grad=False)
        return held.detach().zero_()


def _holders(tensor: Tensor) -> int:
    """How many tensors share the memory of one, itself included."""
    storage = tensor.untyped_storage()
    return torch._C._storage_Use_Count(storage._cdata) - 1  # less the one of this function


class _Rows(torch.autograd.Function):
    """Rows of a table by their number; the gradient is made in the buffer of the table."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, numbers: Tensor, buffer: _Buffer, padding: int | None
    ) -> Tensor:
        ctx.save_for_backward(weight, numbers)
        ctx.buffer, ctx.padding = buffer, padding
        return F.embedding(numbers, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        weight, numbers = ctx.saved_tensors
        whole = ctx.buffer.zeros_like(weight)
        whole.index_add_(0, numbers.flatten(), gradient.reshape(-1, weight.shape[1]))
        if ctx.padding is not None:
            whole[ctx.padding] = 0
        return whole, None, None, None
