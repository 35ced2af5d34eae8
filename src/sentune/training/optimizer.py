"""What is done around a step of the optimizer: learning rates of their own, clipped gradients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from sentune.errors import SettingError

# Numbers that are squared and summed up in one go, in their own precision.
_PIECE = 1 << 18


def set_learning_rates(
    optimizer: Optimizer,
    parameters: Iterable[tuple[str, nn.Parameter]],
    rates: Mapping[str, float],
) -> None:
    """Move parameters of an optimizer to groups with the learning rate that a mapping gives.

    Works on any optimizer that was just made: it has no state yet, and its other settings, as
    weight decay, stay with the parameters.
    """
    named = list(parameters)
    for pattern, rate in rates.items():
        chosen = {id(parameter) for name, parameter in named if _fits(pattern, name)}
        moved = [_split(group, chosen, rate) for group in optimizer.param_groups]
        moved = [group for group in moved if group["params"]]
        if not moved:
            raise SettingError(
                f"learning_rate_mapping: no trained parameter has a name with {pattern!r} in it; "
                f"the names begin with {named[0][0]!r}"
            )
        for group in moved:
            optimizer.add_param_group(group)


def _fits(pattern: str, name: str) -> bool:
    """Whether a pattern is in a parameter's name, or in that of earlier versions."""
    return any(re.search(pattern, one) for one in (name, name.replace("0.model.", "0.auto_model.")))


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """As `torch.nn.utils.clip_grad_norm_`, in half of its time on the CPU."""
    clipped = [parameter for parameter in parameters if parameter.grad is not None]
    gradients: list[Any] = [parameter.grad for parameter in clipped]
    if not all(map(_is_usual, gradients)):
        return clip_grad_norm_(clipped, limit)
    norm = _norm(gradients)
    if not norm <= limit:  # also where it is not a number, which torch hands on
        factor = limit / (norm + 1e-6)
        torch._foreach_mul_(gradients, factor)
    return norm


def _is_usual(gradient: Tensor) -> bool:
    is_dense = gradient.is_cpu and gradient.layout == torch.strided
    return is_dense and gradient.dtype == torch.float32 and gradient.is_contiguous()


def _norm(gradients: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all numbers together."""
    # A product with itself reads memory at twice the speed of torch's norm. Pieces keep it exact.
    pieces = [piece for g in gradients for piece in g.view(-1).split(_PIECE)]
    squares = [torch.dot(piece, piece) for piece in pieces] or [torch.zeros(())]
    return torch.stack(squares).double().sum().sqrt().float()


def _split(group: dict, chosen: set[int], rate: float) -> dict:
    """A group of the chosen parameters of a group, which loses them."""
    moved = [parameter for parameter in group["params"] if id(parameter) in chosen]
    group["params"] = [parameter for parameter in group["params"] if id(parameter) not in chosen]
    return {**group, "params": moved, "lr": rate}
