"""Weights between those of the start and those after training, of one training or of several.

The weights of several trainings from one start are averaged: the average is as good as the best of
them, mostly better, and no more work to use.

Source:
    Wortsman et al. 2022 (WiSE-FT), https://arxiv.org/abs/2109.01903; Wortsman et al. 2022 (model
    soups), https://arxiv.org/abs/2203.05482; Xiao et al. 2023 (LM-Cocktail),
    https://arxiv.org/abs/2311.13534.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sentune.errors import TrainingError

ALPHAS = (1.0, 0.75, 0.5, 0.25, 0.1)  # shares of the trained weights that are tried
_POWER = 1.7
_LARGEST_STEP = 0.95  # to the next share, where the last one nearly agreed

Weights = Mapping[str, Tensor]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all tensors of a model, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def mean(several: Sequence[Weights]) -> Weights:
    """The mean of the weights of several models; tensors of whole numbers are those of the first.

    Raises:
        TrainingError: If they are of different models.
    """
    first, *others = several
    for other in others:
        _check_same(first, other)
    return {
        name: torch.stack([one[name].float() for one in several]).mean(dim=0).to(value.dtype)
        if others and value.is_floating_point()
        else value
        for name, value in first.items()
    }


@torch.no_grad()
def put(model: nn.Module, start: Weights, trained: Weights, alpha: float) -> None:
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
    _check_same(own, start)
    _check_same(own, trained)
    for name, place in own.items():
        place.copy_(_between(start[name], trained[name], alpha))


@dataclass(frozen=True)
class Mixer:
    """A model that is brought to any share of trained weights.

    Attributes:
        model: Which is changed in place.
        start: Weights of the start.
        trained: For each fold a function that gives the models trained on it, one after another.
    """

    model: nn.Module
    start: Weights
    trained: Sequence[Callable[[], Sequence[Weights]]]

    def at(self, alpha: float, fold: int | None = None) -> nn.Module:
        """The model with this share of the trained weights, those of a fold or of all."""
        chosen = self.trained if fold is None else [self.trained[fold]]
        put(self.model, self.start, mean([one for of in chosen for one in of()]), alpha)
        return self.model


def share_at(threshold: float, share: float, agreement: float) -> float:
    """The share of trained weights at which the agreement is about a threshold.

    What is missing from full agreement grows with the share to the power of about 1.8; here it is
    taken to be 1.7, which is on the safe side.

    Args:
        threshold: What the agreement is to be.
        share: One that agrees less.
        agreement: Of that.
    """
    part = ((1 - threshold) / (1 - agreement)) ** (1 / _POWER)
    return round(share * min(part - 0.01, _LARGEST_STEP), 2)


def _check_same(one: Weights, other: Weights) -> None:
    if one.keys() != other.keys():
        odd = sorted(one.keys() ^ other.keys())
        raise TrainingError(f"weights of different models cannot be mixed: {odd[:3]} differ")


def _between(start: Tensor, trained: Tensor, alpha: float) -> Tensor:
    if alpha in (0, 1) or not trained.is_floating_point():
        return start if alpha == 0 else trained
    mixed = torch.lerp(start.float(), trained.float(), alpha)
    return mixed.to(trained.dtype)
