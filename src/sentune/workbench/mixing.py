"""Weights between those of the start and those after training.

Source:
    Wortsman et al. 2022 (WiSE-FT), https://arxiv.org/abs/2109.01903; Xiao et al. 2023
    (LM-Cocktail), https://arxiv.org/abs/2311.13534.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sentune.errors import TrainingError

ALPHAS = (1.0, 0.75, 0.5, 0.25, 0.1)  # shares of the trained weights that are tried

Weights = Mapping[str, Tensor]


def weights_of(model: Any) -> dict[str, Tensor]:
    """A copy of all tensors of a model, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def put(model: Any, start: Weights, trained: Weights, alpha: float) -> None:
    """Give a model the weights (1 - alpha) · start + alpha · trained, in place.

    Args:
        model: Of the same modules as both.
        start: Tensors by name.
        trained: The same after training.
        alpha: 0 gives exactly the start, 1 exactly the trained weights. Tensors of whole numbers
            are taken from the trained ones.

    Raises:
        TrainingError: If the names or shapes differ.
    """
    own = model.state_dict()
    if not own.keys() == start.keys() == trained.keys():
        odd = sorted((own.keys() ^ start.keys()) | (own.keys() ^ trained.keys()))
        raise TrainingError(f"weights of different models cannot be mixed: {odd[:3]} differ")
    for name, place in own.items():
        place.copy_(_between(start[name], trained[name], alpha))


@dataclass(frozen=True)
class Mixer:
    """A model that is brought to any share of its trained weights.

    Attributes:
        model: The trained model, which is changed in place.
        start: Weights of the start.
        trained: Weights after training.
    """

    model: Any
    start: Weights
    trained: Weights

    @classmethod
    def of(cls, model: Any, start: Any) -> Mixer:
        """Of a trained model and the one that it was trained from."""
        return cls(model, weights_of(start), weights_of(model))

    def at(self, alpha: float) -> Any:
        """The model with this share of the trained weights."""
        put(self.model, self.start, self.trained, alpha)
        return self.model


def share_at(
    threshold: float, above: tuple[float, float], below: tuple[float, float]
) -> float | None:
    """The share between two at which the agreement is about a threshold; None if it is near one.

    Args:
        threshold: What the agreement is to be.
        above: A share and its agreement, which is lower.
        below: A smaller share and its agreement, which is at least the threshold.
    """
    (high, low_agreement), (low, high_agreement) = above, below
    part = (high_agreement - threshold) / (high_agreement - low_agreement)
    # The agreement falls with the square of the distance from the start, or so: with the straight
    # line between the two the share is on the safe side of the threshold.
    found = round(low + part * (high - low) - 0.005, 2)
    return found if low + 0.04 < found < high else None


def _between(start: Tensor, trained: Tensor, alpha: float) -> Tensor:
    if alpha in (0, 1) or not trained.is_floating_point():
        return start if alpha == 0 else trained
    mixed = torch.lerp(start.float(), trained.float(), alpha)
    return mixed.to(trained.dtype)
