"""How a trainer computes the loss of a batch, by itself or by methods that override its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from sentune.encoder.model import Model
from sentune.errors import TrainingError
from sentune.losses.given import padded
from sentune.machine.device import SetPrecision
from sentune.training.collate import Batch, as_batch, as_flat
from sentune.training.preflight import check_gradient
from sentune.training.trainer_saving import SavingTrainer
from sentune.training.training_step import LossLike


class LossTrainer(SavingTrainer):
    """The part of the trainer that computes losses."""

    _runs: nn.Module | None = None  # the step in its wrappers, while a batch goes through it
    _has_run = False

    def prepare_loss(self, loss: LossLike, model: Any) -> nn.Module:
        """The loss, made with the model where a class or function was given, on its device."""
        made: Any = loss if isinstance(loss, nn.Module) or not callable(loss) else loss(model)
        return made.to(self.args.device) if isinstance(made, nn.Module) else made

    def override_model_in_loss(self, loss: nn.Module, model: nn.Module) -> nn.Module:
        """The loss, and the losses in it, with another model in place of theirs."""
        for name, child in loss.named_children():
            if name == "model" and isinstance(child, Model):
                loss.model = model
            else:
                self.override_model_in_loss(child, model)
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a batch; override it for another one.

        A method that overrides it is given the model, and the batch as `{column}_input_ids`,
        `{column}_attention_mask` ..., "label" and "dataset_name".

        Args:
            model: The model in training, or the step in its wrappers.
            inputs: The batch.
            return_outputs: Whether outputs are returned too; there are none.
            num_items_in_batch: Not used.

        Returns:
            The loss, `()`; or it and an empty dict.
        """
        batch = as_batch(inputs)
        if _overrides(self, "collect_features"):
            features, batch["labels"] = self.collect_features(as_flat(batch, self.step.model))
            batch["columns"] = {str(place): column for place, column in enumerate(features)}
        step = model if self._runs is None else self._runs
        self._has_run = True
        outputs = (self.step if isinstance(step, Model) else step)(**batch)
        if self.step.training:
            check_gradient(outputs["loss"])
        if outputs["parts"]:
            self.track_loss_components(outputs["parts"])
        return (outputs["loss"], {}) if return_outputs else outputs["loss"]

    def collect_features(
        self, inputs: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], torch.Tensor | None]:
        """The features of each column of a batch, padded, and its labels."""
        batch = as_batch(inputs)
        columns = [padded(self.step.model, column) for column in batch["columns"].values()]
        return columns, batch.get("labels")

    def track_loss_components(self, loss: Mapping[str, torch.Tensor]) -> None:
        """Take note of the named parts of a loss; their means are logged with it."""
        self._parts.add({name: part.detach() for name, part in loss.items()})

    def training_step(
        self, model: nn.Module, inputs: Mapping[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The loss of a batch, after its backward; a NaN stops the run and names the rows."""
        model.train()
        with self._running(model):
            loss = super().training_step(self._shown(model), inputs, num_items_in_batch)  # type: ignore[arg-type]
            if not self._has_run and self.args.world_size > 1:
                raise TrainingError(
                    f"{type(self).__name__}.compute_loss does not call super().compute_loss: of "
                    f"{self.args.world_size} processes each would train a model of its own"
                )
        self._watch.see(loss, inputs, self.state.global_step)
        return loss

    def prediction_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch to evaluate on."""
        with self._running(model):
            return super().prediction_step(self._shown(model), *args, **kwargs)

    def compute_loss_context_manager(self) -> ExitStack:
        """What a loss is computed in: the precision of the arguments."""
        stack = super().compute_loss_context_manager()
        if _overrides(self, "compute_loss"):
            stack.enter_context(self.accelerator.autocast())
            stack.enter_context(SetPrecision())
        return stack

    @contextmanager
    def _running(self, model: nn.Module) -> Iterator[None]:
        """Inside the block, what is run is the step in these wrappers."""
        self._runs, self._has_run = model, False
        try:
            yield
        finally:
            self._runs = None

    def _shown(self, model: nn.Module) -> nn.Module:
        """What `compute_loss` is given as the model."""
        return self.step.model if _overrides(self, "compute_loss") else model

    def _prepare_inputs(self, inputs: Any) -> Batch:
        batch = super()._prepare_inputs(as_batch(inputs))
        return as_flat(batch, self.step.model) if _overrides(self, "compute_loss") else batch


def _overrides(trainer: LossTrainer, name: str) -> bool:
    """Whether a method of this trainer is one of a user's own."""
    own = name in vars(trainer)
    return own or getattr(type(trainer), name) is not getattr(LossTrainer, name)
