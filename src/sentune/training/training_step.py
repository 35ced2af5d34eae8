"""What is run in a step of training: the model and its loss, as one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sentune.errors import SettingError, TrainingError
from sentune.losses.given import checked
from sentune.machine.device import SetPrecision
from sentune.models.base import says
from sentune.text import layouts
from sentune.types import Features

# A loss, or what makes one of the model.
LossLike: TypeAlias = "nn.Module | Callable[[Any], nn.Module]"

LOSS_FILE = "loss.safetensors"


class TrainingStep(nn.Module):
    """A batch -> its loss.

    The model and the losses are one module, so that whatever prepares a module for training (DDP,
    autocast, compile, an optimizer) sees every parameter. The parameters of the model are named
    `model.*`, those that a loss has of its own `loss.*`.

    Args:
        model: The model in training.
        loss: A loss, or dataset name -> loss; a class or function is called with the model.

    Raises:
        SettingError: If a loss was made for another model.
    """

    def __init__(self, model: nn.Module, loss: LossLike | Mapping[str, LossLike]) -> None:
        super().__init__()
        self.model = model
        if not isinstance(loss, Mapping):
            self.loss = _ready(loss, model)
            self._place: dict[str, int] | None = None
            return
        ready = [_ready(one, model) for one in loss.values()]
        # By number, since a name may hold characters that a module's name may not.
        self.loss = nn.ModuleList(ready)
        self._place = {name: place for place, name in enumerate(loss)}

    def forward(
        self,
        columns: Mapping[str, Features],
        labels: Tensor | None = None,
        dataset_name: str | None = None,
        rows: Tensor | None = None,
    ) -> dict[str, Any]:
        """The loss of a batch.

        Args:
            columns: Tokens of each column.
            labels: `(b,)` or `(b, n)`.
            dataset_name: Which loss to take, if there are several.
            rows: Not read; part of every batch.

        Returns:
            "loss", a scalar, and "parts": name -> scalar, empty unless the loss has named parts.
        """
        loss = self._loss_for(dataset_name)
        features = list(columns.values())
        if not says(loss, "reads_ragged"):  # a loss of the user's own
            features = [self._padded(column) for column in features]
        with SetPrecision():  # by the training arguments, also for models that guide
            value = loss(features, labels)
        value = checked(value, type(loss).__name__)
        if not isinstance(value, dict):
            return {"loss": value, "parts": {}}
        parts = {name: part.detach() for name, part in value.items()}
        return {"loss": torch.stack(list(value.values())).sum(), "parts": parts}

    @property
    def losses(self) -> nn.Module | dict[str, nn.Module]:
        """The loss, or dataset name -> loss."""
        if self._place is None:
            return self.loss
        return {name: self._loss_for(name) for name in self._place}

    def own_weights(self) -> dict[str, Tensor]:
        """The weights that belong to a loss and not to the model: heads, projections, scales."""
        kept = self.state_dict(keep_vars=True).keys()
        named = [*self.named_parameters(), *self.named_buffers()]  # shared ones once, as model.*
        return {
            name: tensor
            for name, tensor in named
            if name.startswith("loss.")
            and name in kept
            and (tensor.requires_grad or not isinstance(tensor, nn.Parameter))
        }

    def save_own_weights(self, folder: Path) -> None:
        """Write the weights of the losses into a folder; no file if there are none."""
        weights = {
            name: tensor.detach().contiguous() for name, tensor in self.own_weights().items()
        }
        if weights:
            save_file(weights, folder / LOSS_FILE, metadata={"format": "pt"})

    def load_own_weights(self, folder: Path) -> None:
        """Read the weights of the losses from a folder.

        Raises:
            TrainingError: If it holds other weights than these losses have.
        """
        own = self.own_weights()
        path = folder / LOSS_FILE
        try:
            found = load_file(path) if path.exists() else {}
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{path} cannot be read: {error}") from error
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        if shapes != {name: tuple(tensor.shape) for name, tensor in found.items()}:
            raise TrainingError(
                f"{path} holds {sorted(found) or 'no weights'}, and the losses of this run have "
                f"{sorted(own) or 'none'}; resume with the losses that the checkpoint was made with"
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(found[name])

    def _padded(self, features: Features) -> Features:
        return self.model.pad(features) if layouts.is_ragged(features) else features  # type: ignore[operator]

    def _loss_for(self, dataset_name: str | None) -> nn.Module:
        if self._place is None:
            return self.loss
        if dataset_name not in self._place:
            raise SettingError(
                f"there is a loss for each of {sorted(self._place)} and none for {dataset_name!r}"
            )
        return self.loss[self._place[dataset_name]]  # type: ignore[index]


def _ready(loss: LossLike, model: nn.Module) -> nn.Module:
    if not isinstance(loss, nn.Module):
        if not callable(loss):
            raise SettingError(
                f"a loss must be one of sentune.losses or what makes one of the model, got {loss!r}"
            )
        loss = loss(model)
    trained = getattr(loss, "model", model)
    if isinstance(trained, nn.Module) and trained is not model:
        raise SettingError(
            f"{type(loss).__name__} was made with another model than the one to train; make it "
            "with the same model, or pass loss=lambda model: ..."
        )
    return loss
