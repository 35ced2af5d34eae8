"""Torch functions in faster ways, for the time in which an encoder's own modules run.

For encoders that `sentune.engine.bert` does not know: kept rounded weights, fast dropout, and word
tables whose gradient keeps its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sentune.engine.copies import Copies
from sentune.engine.dropout import dropout
from sentune.engine.embedding import Buffers, look_up
from sentune.machine.device import multiplied_in


class Fast(TorchFunctionMode):
    """The mode to run the modules in; no buffers for gradients of tables outside of training."""

    def __init__(self, copies: Copies, buffers: Buffers | None) -> None:
        super().__init__()
        self.copies = copies
        self.buffers = buffers
        self._own = {
            F.linear: self._linear,
            F.dropout: _dropout,
            F.embedding: self._embedding,
            F.layer_norm: _layer_norm,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, or what stands for it here."""
        return self._own.get(func, func)(*args, **(kwargs or {}))

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        dtype = multiplied_in(input.device.type)
        if torch.is_grad_enabled() or dtype is None or weight.dtype != torch.float32:
            return F.linear(input, weight, bias)
        bias = None if bias is None else self.copies.of([bias], dtype)
        return F.linear(input.to(dtype), self.copies.of([weight], dtype), bias)

    def _embedding(
        self,
        input: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor:
        if max_norm is None and not scale_grad_by_freq and not sparse:
            return look_up(input, weight, padding_idx, self.buffers)
        rest = (max_norm, norm_type, scale_grad_by_freq, sparse)
        return F.embedding(input, weight, padding_idx, *rest)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or not p or inplace:
        return F.dropout(input, p, training, inplace)
    return dropout(input, p)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    is_rounded = weight is not None and weight.dtype == torch.float32 != input.dtype
    if is_rounded and input.is_cpu and torch.is_grad_enabled():
        # The gradient of the weights is a sum over all tokens, which half precision cannot hold;
        # autocast sees to it on CUDA.
        input = input.float()
    return F.layer_norm(input, normalized_shape, weight, bias, eps)
