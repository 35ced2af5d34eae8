"""Embedding tables whose gradient takes the same memory in every step.

The gradient of a table is a table: for a small encoder half of all gradients, and nearly all of it
zeros. On the CPU a fresh one costs ten times as much as to clear the one of the step before, since
the system has to hand out its pages first. So while a model is trained, a table keeps the memory
of its gradient and uses it again once nobody else holds it. Other devices keep memory by
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sentune.engine.exchange import exchanged


class Table(nn.Embedding):
    """As `torch.nn.Embedding`, with the same weight under the same name."""

    _room: _Room | None = None

    def forward(self, input: Tensor) -> Tensor:
        """The rows of the table by their number."""
        is_plain = self.max_norm is None and not self.scale_grad_by_freq and not self.sparse
        is_trained = torch.is_grad_enabled() and self.weight.requires_grad
        if self._room is None or not is_plain or not is_trained or not self.weight.is_cpu:
            return super().forward(input)
        rows: Any = _Rows.apply(self.weight, input, self._room, self.padding_idx)
        return rows


@contextmanager
def keeping_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block the tables of a model keep the memory of their gradients.

    Args:
        model: The model in training.
    """
    tables = [module for module in model.modules() if isinstance(module, Table)]
    for table in tables:
        table._room = _Room()
    try:
        yield
    finally:
        for table in tables:
            table._room = None


def with_own_tables(encoder: nn.Module) -> nn.Module:
    """The encoder with each of its plain embedding tables exchanged for `Table`.

    Args:
        encoder: Changed in place; its weights and their names stay as they are.
    """
    return exchanged(encoder, nn.Embedding, _twin)


def _twin(table: Any) -> Table:
    """A `Table` with the weight and the settings of a table."""
    twin = Table.__new__(Table)
    twin.__dict__.update(table.__dict__)
    return twin


class _Room:
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
    """Rows of a table by their number; the gradient is made in the room of the table."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, numbers: Tensor, room: _Room, padding: int | None
    ) -> Tensor:
        ctx.save_for_backward(weight, numbers)
        ctx.room, ctx.padding = room, padding
        return nn.functional.embedding(numbers, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        weight, numbers = ctx.saved_tensors
        whole = ctx.room.zeros_like(weight)
        whole.index_add_(0, numbers.flatten(), gradient.reshape(-1, weight.shape[1]))
        if ctx.padding is not None:
            whole[ctx.padding] = 0
        return whole, None, None, None
