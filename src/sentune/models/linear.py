"""Linear layers that keep a copy of their weights in the type that autocast multiplies in.

Autocast casts every weight in every pass. For one short query that takes longer than the query
itself, so a pass without gradients takes the copy of the pass before. With gradients the weights
change from step to step, and autocast's own way is as good.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.models.exchange import exchanged


class Linear(nn.Linear):
    """As `torch.nn.Linear`, with the same weights under the same names."""

    def forward(self, input: Tensor) -> Tensor:
        """`input @ weight.T + bias`."""
        kind = input.device.type
        if torch.is_grad_enabled() or not torch.is_autocast_enabled(kind):
            return F.linear(input, self.weight, self.bias)
        weight, bias = self._copy(torch.get_autocast_dtype(kind))
        return F.linear(input.to(weight.dtype), weight, bias)

    def train(self, mode: bool = True) -> Linear:
        """As `torch.nn.Module.train`; the copy goes where training begins."""
        if mode:
            self.__dict__.pop("_kept", None)
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Without the copy, which is made again where it is needed."""
        return {key: value for key, value in self.__dict__.items() if key != "_kept"}

    def _copy(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in a type, as of now."""
        kept = self.__dict__.get("_kept")
        if kept is None or kept[0] != self._state(dtype) or self._has_moved(kept[1]):
            bias = None if self.bias is None else self.bias.to(dtype)
            # One assignment, so that another thread sees the old copy or the new one.
            kept = (self._state(dtype), self.weight[0].clone(), self.weight.to(dtype), bias)
            self.__dict__["_kept"] = kept
        return kept[2], kept[3]

    def _has_moved(self, row: Tensor) -> bool:
        """Whether the weights were written through `.data`, which only their values tell.

        On an accelerator the answer would have to be waited for, so there it is not asked; `train`
        drops the copy before weights are trained.
        """
        return row.device.type == "cpu" and not torch.equal(self.weight[0], row)

    def _state(self, dtype: torch.dtype) -> tuple[Any, ...]:
        """Changes when the weights are written to, or are other ones."""
        parts = [self.weight] if self.bias is None else [self.weight, self.bias]
        return dtype, *((part.data_ptr(), part._version) for part in parts)


def with_kept_copies(encoder: nn.Module) -> nn.Module:
    """The encoder with each of its plain linear layers exchanged for `Linear`.

    Args:
        encoder: Changed in place; its weights and their names stay as they are.
    """
    return exchanged(encoder, nn.Linear, _twin)


def _twin(layer: Any) -> Linear:
    """A `Linear` with the weights of a layer."""
    has_bias = layer.bias is not None
    twin = Linear(layer.in_features, layer.out_features, bias=has_bias, device="meta")
    twin.weight, twin.bias = layer.weight, layer.bias
    return twin
