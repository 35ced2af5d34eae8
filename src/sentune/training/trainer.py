"""SentenceTransformerTrainer: `transformers.Trainer` with a loss of its own and batches of columns.

What is run, and what an optimizer, DDP, autocast or torch.compile get to see, is the
`TrainingStep`: model and loss as one module. What users, callbacks and evaluators see as
`trainer.model` is the SentenceTransformer. So the step stands in for the model where transformers
prepares and runs a model, and nowhere else.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object
from torch import nn
from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy, TrainOutput

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.engine.state import keeping_gradients
from sentune.errors import SettingError, warn
from sentune.files.kinds import SENTENCE_TRANSFORMER
from sentune.losses import CoSENTLoss
from sentune.machine.distributed import leave_group_at_exit
from sentune.record.logs import PADDING_SAVED
from sentune.record.run import Run
from sentune.share.data import SentenceTransformerModelCardData
from sentune.text import layouts
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.checkpoints import place_in_stream
from sentune.training.collate import Batch, SentenceTransformerDataCollator, as_batch
from sentune.training.dataloaders import TellEpoch
from sentune.training.dataset_rows import as_dataset
from sentune.training.evaluating import Evaluator, as_list
from sentune.training.interrupt import StopOnInterrupt
from sentune.training.nan_guard import LossWatch, PartMeans
from sentune.training.optimizer import clip_gradients, set_learning_rates
from sentune.training.preflight import (
    check_arguments,
    check_data,
    check_ran,
    check_routes,
    check_steps,
    check_trained,
    check_vocabulary,
    kept_configuration,
    warn_of_saves,
)
from sentune.training.routes import check_mapping
from sentune.training.run_recorder import SentenceTransformerModelCardCallback, settings_of
from sentune.training.trainer_loss import LossTrainer
from sentune.training.training_step import LossLike, TrainingStep


class SentenceTransformerTrainer(LossTrainer):
    """Trains a SentenceTransformer, with all that `transformers.Trainer` can do.

    Args:
        model: The model; it is trained in place.
        args: The settings of the run.
        train_dataset: A `datasets.Dataset`, an `IterableDataset`, a list of dicts or of
            `InputExample`s, or a dict of such. Columns named label, labels, score or scores hold
            the labels; all others are inputs, in their order.
        eval_dataset: The same, for the loss on held-out rows.
        loss: A loss, or what makes one of the model; or a dict of them with the names of the
            datasets. By default `CoSENTLoss`.
        evaluator: Called with the model at every evaluation; or a list of them.
        data_collator: Makes batches of rows, in place of `SentenceTransformerDataCollator`.
        processing_class: A tokenizer for callbacks that want one; the model has its own.
        model_init: Makes the model, for a search of hyperparameters; `loss` must then be a class
            or function.
        compute_metrics: Not used: there are no predictions to compare, use an evaluator.
        callbacks: See `transformers.TrainerCallback`.
        optimizers: An optimizer and a scheduler, in place of those that `args` describes.
        optimizer_cls_and_kwargs: Class and settings of the optimizer.
        preprocess_logits_for_metrics: Not used.
        tokenizer: Older name of `processing_class`.

    Attributes:
        model: The SentenceTransformer in training.
        step: Model and loss as one module; see `TrainingStep`.
        evaluation_folder: Where evaluators write their tables; None for nowhere.
        saves_on_interrupt: Whether Ctrl-C waits for the end of the step and saves.
        settings_shown: The settings to show in the model card and in the record of the run, and
            what they are by default; None for those of `args`.

    Raises:
        SettingError: If arguments are missing or contradict each other.
        DatasetError: If a dataset cannot be read.
    """

    model_class = SentenceTransformer
    model_card_data_class = SentenceTransformerModelCardData
    model_card_callback_class = SentenceTransformerModelCardCallback
    training_args_class = SentenceTransformerTrainingArguments

    # Losses are means over their own batch; transformers divides by the accumulated batches.
    loss_is_scaled_for_ga = False
    saves_on_interrupt = True
    settings_shown: tuple[dict[str, Any], dict[str, Any]] | None = None
    _has_made_optimizer = False  # and was not given one

    def __init__(
        self,
        model: SentenceTransformer | None = None,
        args: SentenceTransformerTrainingArguments | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        loss: LossLike | Mapping[str, LossLike] | None = None,
        evaluator: Evaluator | Sequence[Evaluator] | None = None,
        data_collator: Callable[[list[dict[str, Any]]], Batch] | None = None,
        processing_class: Any = None,
        model_init: Callable[..., SentenceTransformer] | None = None,
        compute_metrics: Callable[..., Any] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[..., Any] | None = None,
        *,
        tokenizer: Any = None,
    ) -> None:
        args = args or self.training_args_class(output_dir="tmp_trainer")
        if compute_metrics is not None:
            warn("compute_metrics is not used; give an evaluator for figures besides the loss")
        self.evaluators = as_list(evaluator)
        train_dataset = as_dataset(train_dataset, "train_dataset")
        eval_dataset = as_dataset(eval_dataset, "eval_dataset")
        rows = {"train": train_dataset, "eval": eval_dataset}
        check_arguments(args, self.training_args_class, model, model_init, loss, rows)
        if model is not None and not getattr(model, "is_auto_dtype", True):
            args = args.exact()
        with kept_configuration(model):
            super().__init__(
                model=model,
                args=args,
                train_dataset=train_dataset,
                # transformers refuses to evaluate without a dataset, also where evaluators do it.
                eval_dataset=[] if eval_dataset is None and self.evaluators else eval_dataset,
                processing_class=processing_class if tokenizer is None else tokenizer,
                model_init=model_init,  # type: ignore[arg-type]
                callbacks=callbacks,
                optimizers=optimizers,
                optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
            )
        self.eval_dataset = eval_dataset
        self.model_accepts_loss_kwargs = False
        self.can_return_loss, self.label_names = True, []  # every batch has a loss, none has logits
        self._loss_given = self.get_default_loss if loss is None else loss
        self._collator_given = data_collator
        self._set_up(self.model)
        self.train_dataset = self.preprocess_dataset(self.train_dataset, "train")
        self.eval_dataset = self.preprocess_dataset(self.eval_dataset, "eval")
        self._check_data()
        self._watch, self._parts = LossWatch(), PartMeans()
        leave_group_at_exit()
        self.evaluation_folder: Path | None = Path(str(args.output_dir)) / "eval"
        self._interrupt = StopOnInterrupt()
        self.add_callback(self._interrupt)
        self.add_callback(TellEpoch)
        self.add_model_card_callback(settings_of(args)[1])

    def _check_again(self) -> None:
        """Check datasets and loss that were set since they were checked last."""
        now = (self.train_dataset, self.eval_dataset, self._loss_given)
        if all(map(operator.is_, now, self._checked)):
            return
        for name in ("train", "eval"):
            dataset = getattr(self, f"{name}_dataset")
            if not any(dataset is known for known in self._checked):
                setattr(self, f"{name}_dataset", self.preprocess_dataset(dataset, name))
        rows = {"train": self.train_dataset, "eval": self.eval_dataset}
        kind = self.training_args_class
        check_arguments(self.args, kind, self.model, None, self._loss_given, rows)
        self._check_data()

    def _check_data(self) -> None:
        rows = {"train_dataset": self.train_dataset, "eval_dataset": self.eval_dataset}
        check_mapping(self.model, self.args.router_mapping)
        check_routes(self.model, self.data_collator, rows)
        for what, batches in (("train_dataset", self.args), ("eval_dataset", None)):
            dataset = rows[what]
            if dataset is not None and self._collator_given is None:
                check_data(dataset, self.loss, what, batches)
                check_vocabulary(dataset, self.model, self.data_collator)
        self._checked = (self.train_dataset, self.eval_dataset, self._loss_given)

    # The step: model and loss as one --------------------------------------------------------------

    def _set_up(self, model: SentenceTransformer) -> None:
        kind = getattr(model, "kind", SENTENCE_TRANSFORMER)
        if kind is not SENTENCE_TRANSFORMER:
            raise SettingError(
                f"sentune trains SentenceTransformers; got a {kind.name}, which it can only run"
            )
        self._put_loss(model)
        self.data_collator = self._collator_given or self.get_data_collator(
            model=model, args=self.args, processing_class=self.processing_class
        )
        if isinstance(self.data_collator, SentenceTransformerDataCollator):
            self.data_collator._is_checked |= self._collator_given is None
            self.data_collator._needs_routes = True

    def _put_loss(self, model: SentenceTransformer) -> None:
        """Make the step of a model and the loss that was given."""
        given = self._loss_given
        several = given if isinstance(given, Mapping) else {"": given}
        ready = {name: self.prepare_loss(loss, model) for name, loss in several.items()}
        if self.model_init is not None:
            ready = {n: self.override_model_in_loss(loss, model) for n, loss in ready.items()}
        loss = ready if isinstance(given, Mapping) else ready[""]
        self.step = TrainingStep(model, loss).to(self.args.device)

    @property
    def loss(self) -> nn.Module | dict[str, nn.Module]:
        """The loss, or dataset name -> loss."""
        return self.step.losses

    @loss.setter
    def loss(self, loss: LossLike | Mapping[str, LossLike]) -> None:
        self._loss_given = loss
        self._put_loss(self.model)
        self.model_wrapped = self.model
        if self._has_made_optimizer:  # it holds the weights of the loss before
            self.optimizer, self._has_made_optimizer = None, False

    @property
    def evaluator(self) -> Evaluator | None:
        """What measures the model at every evaluation: one evaluator, of several all in one."""
        return next(iter(self.evaluators), None)

    @evaluator.setter
    def evaluator(self, evaluator: Evaluator | Sequence[Evaluator] | None) -> None:
        self.evaluators = as_list(evaluator)

    @property
    def run_record(self) -> Run | None:
        """What is recorded of the last run; None before the first."""
        return self._recorder.run

    @property
    def _recorder(self) -> SentenceTransformerModelCardCallback:  # type: ignore[override]
        """What records the run; one that does nothing where it was taken away."""
        kind = SentenceTransformerModelCardCallback
        found = (one for one in self.callback_handler.callbacks if isinstance(one, kind))
        return next(found, kind())

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add what records the runs for the model's card; override it for another, or none.

        Args:
            default_args_dict: The training arguments where nothing is set.
        """
        callback = self.model_card_callback_class(default_args_dict)
        # Before the user's own, which may save the model when a run ends.
        self.callback_handler.callbacks.insert(0, callback)
        callback.on_init_end(self.args, self.state, self.control, model=self.model, trainer=self)

    def get_default_loss(self, model: SentenceTransformer) -> nn.Module:
        """The loss of a run that names none."""
        return CoSENTLoss(model)

    def call_model_init(self, trial: Any = None) -> SentenceTransformer:
        """A new model, with a new loss for it."""
        model: Any = super().call_model_init(trial)
        if hasattr(self, "step"):
            self._set_up(model)
        return model

    def _prepare_for_training(self, max_steps: int, *args: Any, **kwargs: Any) -> Any:
        check_steps(max_steps, self.args)
        check_trained(self.step, self.optimizer)
        if self.model_wrapped is self.model:
            self.model_wrapped = self.step
        with self._step_as_model():
            prepared = super()._prepare_for_training(max_steps, *args, **kwargs)
        self.callback_handler.model = self.model
        return prepared

    def _init_training_state(
        self, steps: int, steps_per_epoch: int, epochs: int, checkpoint: str | None, trial: Any
    ) -> tuple[int, int]:
        start = super()._init_training_state(steps, steps_per_epoch, epochs, checkpoint, trial)
        if checkpoint is None or hasattr(self.train_dataset, "__len__"):
            return start
        # transformers takes a pass over a stream to be as long as the whole run.
        passes, batches = place_in_stream(Path(checkpoint), self.args.gradient_accumulation_steps)
        return passes, 0 if self.args.ignore_data_skip else batches

    def create_optimizer(self, model: nn.Module | None = None) -> Any:
        """The optimizer, over the parameters of the model and of the loss."""
        is_given = self.optimizer is not None
        super().create_optimizer(self.step if model is None else model)
        rates: Any = self.args.learning_rate_mapping
        if rates and is_given and not self._has_made_optimizer:
            raise SettingError("learning_rate_mapping has no say over an optimizer that was given")
        if rates and not is_given:
            optimizer: Any = self.optimizer
            set_learning_rates(optimizer, self.step.named_parameters(), rates)
        self._has_made_optimizer |= not is_given
        return self.optimizer

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        is_alone = self.accelerator.distributed_type == DistributedType.NO
        if self.args.device.type != "cpu" or not is_alone:
            return super()._clip_grad_norm(model)
        return clip_gradients(model.parameters(), self.args.max_grad_norm)

    # A run ----------------------------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train.

        Args:
            resume_from_checkpoint: A checkpoint to go on from; True for the last one in
                `args.output_dir`.
            trial: Of a search of hyperparameters.
            ignore_keys_for_eval: Not used.

        Raises:
            KeyboardInterrupt: After Ctrl-C, when the step is finished and a checkpoint saved.
            TrainingError: If the loss is NaN, or a checkpoint cannot be written or read.
        """
        self._check_again()
        self._train_batch_size = self.args.train_batch_size  # it may have been changed
        self._settle_metric()
        if self.args.save_strategy != SaveStrategy.NO:
            warn_of_saves(self.model)
        listening = self._interrupt.listening() if self.saves_on_interrupt else nullcontext()
        with listening, self._recorder.recording(), keeping_gradients(self.step):
            result = super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
            if not self._interrupt.is_pressed:
                check_ran(self.state.global_step)
        runs = Path(self._get_output_dir(trial))
        folder = runs / self._checkpoint_name
        if self.saves_on_interrupt:
            self._interrupt.settle(self.args.device)
        if self._interrupt.is_pressed and not folder.exists():  # it came after the last step
            self._save_checkpoint(self.model_wrapped, trial)
        if self.state.best_metric is not None and math.isinf(self.state.best_metric):
            name = str(self.args.metric_for_best_model).removeprefix("eval_")
            warn(f"eval_{name} was NaN in every evaluation: no model is best, the last is kept")
        best = self.state.best_model_checkpoint if self.args.load_best_model_at_end else None
        self._recorder.finish(folder if best is None else Path(best), runs)
        if self._interrupt.is_pressed:
            raise KeyboardInterrupt(
                f"stopped by Ctrl-C and saved; go on with trainer.train({str(folder)!r})"
            )
        return result

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log figures, and with the loss the means of its parts."""
        self._watch.check()
        if "loss" in logs:
            logs = {**logs, **self._parts.take(gather_object)}
        super().log(logs, start_time)

    def _track_num_input_tokens(self, inputs: Batch) -> None:
        if self.args.include_num_input_tokens_seen != "no":
            columns = as_batch(inputs)["columns"].values()
            tokens, slots = (sum(map(f, columns)) for f in (layouts.tokens_in, layouts.slots_in))
            own = torch.tensor(tokens, device=self.args.device)
            self.state.num_input_tokens_seen += int(self.accelerator.gather(own).sum())
            self._parts.add({PADDING_SAVED: torch.tensor(1 - tokens / slots if slots else 0.0)})
