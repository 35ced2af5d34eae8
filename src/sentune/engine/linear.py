"""Linear layers that keep a copy of their weights in the type that products are done in.

Autocast casts every weight in every pass. For one short query that takes longer than the query
itself, so a pass without gradients takes the copy of the pass before. With gradients the weights
change from step to step, and autocast's own way is as good.

Layers that read the same input can share one product: the input is cast once, and one large product
is faster than several small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.engine.exchange import exchanged
from sentune.machine.device import multiplied_in


class Linear(nn.Linear):
    """As `torch.nn.Linear`, with the same weights under the same names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._copies = Copies()

    def forward(self, input: Tensor) -> Tensor:
        """`input @ weight.T + bias`."""
        dtype = multiplied_in(input.device.type)
        if torch.is_grad_enabled() or dtype is None:
            return F.linear(input, self.weight, self.bias)
        weight, bias = self._copies.of([self], dtype)
        return F.linear(input.to(weight.dtype), weight, bias)

    def train(self, mode: bool = True) -> Linear:
        """As `torch.nn.Module.train`; the copy goes where training begins."""
        if mode:
            self._copies.drop()
        return super().train(mode)


class Copies:
    """Weights of layers, one below the other, in a type; made again when they have changed.

    A copy of an instance, or one that was sent to another process, begins empty.
    """

    def __init__(self) -> None:
        self._kept: Any = None

    def of(self, layers: Sequence[nn.Linear], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Weight `(d_out of all layers, d_in)` and bias in a type, as of now.

        Args:
            layers: Always the same ones; all with a bias, or none.
            dtype: The type.
        """
        kept = self._kept
        state = dtype, *(_state(layer) for layer in layers)
        if kept is None or kept[0] != state or _have_moved(layers, kept[1]):
            rows = [layer.weight[0].clone() for layer in layers]
            # One assignment, so that another thread sees the old copy or the new one.
            kept = self._kept = (state, rows, _stacked(layers, dtype))
        return kept[2]

    def drop(self) -> None:
        """Give the memory back."""
        self._kept = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Copies, ()


def product_of_all(layers: Sequence[nn.Linear], input: Tensor, copies: Copies) -> list[Tensor]:
    """What each of the layers makes of one input, `(..., d_out)` each.

    Args:
        layers: All with a bias, or none.
        input: `(..., d_in)`.
        copies: What was kept for these layers.
    """
    dtype = multiplied_in(input.device.type) or layers[0].weight.dtype
    if torch.is_grad_enabled():
        weight, bias = _stacked(layers, dtype)
    else:
        weight, bias = copies.of(layers, dtype)
    product = F.linear(input.to(dtype), weight, bias)
    return list(product.split([layer.out_features for layer in layers], dim=-1))


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


def _stacked(layers: Sequence[nn.Linear], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the layers in a type, one below the other."""
    parts = zip(*((layer.weight, layer.bias) for layer in layers), strict=True)
    weight, bias = (_stack(part, dtype) for part in parts)
    assert weight is not None
    return weight, bias


def _stack(tensors: Sequence[Tensor | None], dtype: torch.dtype) -> Tensor | None:
    """The tensors one below the other, if there are any."""
    found = [tensor for tensor in tensors if tensor is not None]
    whole = torch.cat(found) if len(found) > 1 else next(iter(found), None)
    return None if whole is None else whole.to(dtype)


def _state(layer: nn.Linear) -> tuple[Any, ...]:
    """Changes when the weights are written to, or are other ones."""
    parts = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    return tuple((part.data_ptr(), part._version) for part in parts)


def _have_moved(layers: Sequence[nn.Linear], rows: Sequence[Tensor]) -> bool:
    """Whether the weights were written through `.data`, which only their values tell.

    On an accelerator the answer would have to be waited for, so there it is not asked; `train`
    drops the copy before weights are trained.
    """
    return any(
        row.is_cpu and not torch.equal(layer.weight[0], row)
        for layer, row in zip(layers, rows, strict=True)
    )
