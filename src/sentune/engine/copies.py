"""Weights in the type that products are done in, kept from one `encode` to the next.

Autocast rounds every weight in every pass, which takes longer than one short query itself. So an
`encode` uses the rounded weights of the one before if the weights are still the same. It reads all
of them once to see that, since weights can be written to in ways that leave no trace (`.data`,
numpy, other processes). An accelerator rounds weights faster than that, so there each `encode`
rounds them once and keeps nothing. Outside of `encode` nothing is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# One for each width; what it is made of does not matter, as long as it stays the same.
_directions: dict[Any, Tensor] = {}
_now = threading.local()


@contextmanager
def encoding() -> Iterator[None]:
    """Inside the block weights do not change: each is looked at once, and then trusted."""
    before = getattr(_now, "session", None)
    _now.session = {}
    try:
        yield
    finally:
        _now.session = before


class Copies:
    """Rounded weights of an encoder, those of several layers one below the other."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def of(self, weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """The tensors, `(d_out, d_in)` or `(d_out,)` each, one below the other, in a type."""
        session = getattr(_now, "session", None)
        if session is None or torch.is_grad_enabled():
            return stacked(weights, dtype)
        key = tuple(map(id, weights))
        if not weights[0].is_cpu:
            if (key, dtype) not in session:
                session[key, dtype] = stacked(weights, dtype)
            return session[key, dtype]
        seen, marks, copy = self._kept.get(key, (None, (), None))
        if seen is session:
            return copy
        with torch.autocast("cpu", enabled=False):
            fresh = [_mark(weight) for weight in weights]
        if copy is None or copy.dtype != dtype or not _are_equal(fresh, marks):
            copy = stacked(weights, dtype)
        # One assignment, so that another thread sees the old entry or the new one.
        self._kept[key] = session, fresh, copy
        return copy

    def drop(self) -> None:
        """Give the memory back."""
        self._kept = {}

    def __reduce__(self) -> tuple[Any, ...]:  # a copy, or one for another process, begins empty
        return Copies, ()


def stacked(tensors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """The tensors one below the other, in a type."""
    return (tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))).to(dtype)


def _mark(weight: Tensor) -> Tensor:
    """Numbers that change with the weights: each row's product with an arbitrary direction.

    A product with a vector reads memory at full speed. What it does not see is far below what
    rounding to half precision leaves.
    """
    weight = weight.detach()
    if weight.ndim < 2:
        return weight.clone()
    key = weight.shape[-1], weight.dtype, weight.device
    direction = _directions.get(key)
    if direction is None:
        numbers = torch.rand(key[0], generator=torch.Generator().manual_seed(0)) + 0.5
        direction = _directions[key] = numbers.to(weight.dtype).to(weight.device)
    return torch.mv(weight, direction)


def _are_equal(fresh: Sequence[Tensor], marks: Sequence[Tensor]) -> bool:
    return len(fresh) == len(marks) and all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(fresh, marks, strict=True)
    )
