"""SentenceTransformerTrainer: `transformers.Trainer` with a loss of its own and batches of columns.

What is run, and what an optimizer, DDP, autocast or torch.compile get to see, is the
`TrainingStep`: model and loss as one module. What users, callbacks and evaluators see as
`trainer.model` is the SentenceTransformer. So the step stands in for the model where transformers
prepares and runs a model, and nowhere else.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DistributedType, gather_object
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import (
    PREFIX_CHECKPOINT_DIR,
    EvalLoopOutput,
    HubStrategy,
    IntervalStrategy,
    SaveStrategy,
    TrainOutput,
)

from sentune.disk import files
from sentune.engine.state import keeping_gradients
from sentune.errors import SettingError, warn
from sentune.files.kinds import SENTENCE_TRANSFORMER
from sentune.losses import CoSENTLoss
from sentune.record.run import Run
from sentune.share.publish import write_card
from sentune.text import layouts
from sentune.training import dataloaders as loaders
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.best_model import check_metric, is_nan, named_by, resolved
from sentune.training.checkpoints import (
    copy_model,
    load_weights,
    place_in_stream,
    rotate,
    written_whole,
)
from sentune.training.collate import Batch, SentenceTransformerDataCollator, as_batch
from sentune.training.dataset_rows import NumberedRows, as_dataset
from sentune.training.evaluating import Evaluator, as_list, run_evaluators, with_prefix
from sentune.training.interrupt import StopOnInterrupt
from sentune.training.nan_guard import LossWatch, PartMeans
from sentune.training.optimizer import clip_gradients, set_learning_rates
from sentune.training.preflight import (
    check_arguments,
    check_data,
    check_routes,
    check_vocabulary,
    kept_configuration,
    warn_of_saves,
)
from sentune.training.routes import check_mapping
from sentune.training.run_recorder import RunRecorder, as_names
from sentune.training.training_step import LossLike, TrainingStep

if TYPE_CHECKING:
    from sentune.encoder.sentence_transformers import SentenceTransformer


class SentenceTransformerTrainer(Trainer):
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

    model: Any
    args: SentenceTransformerTrainingArguments
    eval_dataset: Any
    # Losses are means over their own batch; transformers divides by the accumulated batches.
    loss_is_scaled_for_ga = False
    # What the names of the evaluators' metrics begin with, when it is their turn.
    _evaluators_due: str | None = None
    saves_on_interrupt = True
    settings_shown: tuple[dict[str, Any], dict[str, Any]] | None = None
    _has_made_optimizer = False  # and was not given one
    _staging: Path | None = None  # where a checkpoint is being written

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
        args = args or SentenceTransformerTrainingArguments(output_dir="tmp_trainer")
        if compute_metrics is not None:
            warn("compute_metrics is not used; give an evaluator for figures besides the loss")
        self.evaluators = as_list(evaluator)
        train_dataset = as_dataset(train_dataset, "train_dataset")
        eval_dataset = as_dataset(eval_dataset, "eval_dataset")
        rows = {"train": train_dataset, "eval": eval_dataset}
        check_arguments(args, model, model_init, loss, rows)
        if model is not None and not getattr(model, "is_auto_dtype", True):
            args = args.exact()
        # Before the user's own, which may save the model when a run ends.
        self._recorder = RunRecorder(self)
        with kept_configuration(model):
            super().__init__(
                model=model,
                args=args,
                train_dataset=train_dataset,
                # transformers refuses to evaluate without a dataset, also where evaluators do it.
                eval_dataset=[] if eval_dataset is None and self.evaluators else eval_dataset,
                processing_class=processing_class if tokenizer is None else tokenizer,
                model_init=model_init,  # type: ignore[arg-type]
                callbacks=[self._recorder, *(callbacks or ())],
                optimizers=optimizers,
                optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
            )
        self.eval_dataset = eval_dataset
        self.model_accepts_loss_kwargs = False
        self.can_return_loss, self.label_names = True, []  # every batch has a loss, none has logits
        self._loss_given = self.get_default_loss if loss is None else loss
        self._collator_given = data_collator
        self._set_up(self.model)
        self._check_data()
        self._watch, self._parts = LossWatch(), PartMeans()
        self.evaluation_folder: Path | None = Path(str(args.output_dir)) / "eval"
        self._interrupt = StopOnInterrupt()
        self.add_callback(self._interrupt)
        self.add_callback(loaders.TellEpoch)

    def _check_again(self) -> None:
        """Check datasets and loss that were set since they were checked last."""
        now = (self.train_dataset, self.eval_dataset, self._loss_given)
        if all(map(operator.is_, now, self._checked)):
            return
        self.train_dataset = as_dataset(self.train_dataset, "train_dataset")
        self.eval_dataset = as_dataset(self.eval_dataset, "eval_dataset")
        rows = {"train": self.train_dataset, "eval": self.eval_dataset}
        check_arguments(self.args, self.model, None, self._loss_given, rows)
        self._check_data()

    def _check_data(self) -> None:
        rows = {"train_dataset": self.train_dataset, "eval_dataset": self.eval_dataset}
        check_mapping(self.model, self.args.router_mapping)
        check_routes(self.model, self.data_collator, rows)
        for dataset, batches in ((self.train_dataset, self.args), (self.eval_dataset, None)):
            if dataset is not None and self._collator_given is None:
                check_data(dataset, self.loss, batches)
                check_vocabulary(dataset, self.model, self.data_collator)
        self._checked = (self.train_dataset, self.eval_dataset, self._loss_given)

    # The step: model and loss as one --------------------------------------------------------------

    def _set_up(self, model: SentenceTransformer) -> None:
        kind = getattr(model, "kind", SENTENCE_TRANSFORMER)
        if kind is not SENTENCE_TRANSFORMER:
            raise SettingError(
                f"sentune trains SentenceTransformers; got a {kind.name}, which it can only run"
            )
        self.step = TrainingStep(model, self._loss_given).to(self.args.device)
        self.data_collator = self._collator_given or self.get_data_collator(model)

    @property
    def loss(self) -> nn.Module | dict[str, nn.Module]:
        """The loss, or dataset name -> loss."""
        return self.step.losses

    @loss.setter
    def loss(self, loss: LossLike | Mapping[str, LossLike]) -> None:
        self._loss_given = loss
        self.step = TrainingStep(self.model, loss).to(self.args.device)
        self.model_wrapped = self.model
        if self._has_made_optimizer:  # it holds the weights of the loss before
            self.optimizer, self._has_made_optimizer = None, False

    @property
    def run_record(self) -> Run | None:
        """What is recorded of the last run; None before the first."""
        return self._recorder.run

    def get_default_loss(self, model: SentenceTransformer) -> nn.Module:
        """The loss of a run that names none."""
        return CoSENTLoss(model)

    def call_model_init(self, trial: Any = None) -> SentenceTransformer:
        """A new model, with a new loss for it."""
        model: Any = super().call_model_init(trial)
        if hasattr(self, "step"):
            self._set_up(model)
        return model

    @contextmanager
    def _step_as_model(self) -> Iterator[None]:
        model, self.model = self.model, self.step
        try:
            yield
        finally:
            self.model = model

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        if self.model_wrapped is self.model:
            self.model_wrapped = self.step
        with self._step_as_model():
            prepared = super()._prepare_for_training(*args, **kwargs)
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

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a batch; in training, a NaN stops the run and names the rows."""
        outputs = model(**inputs)
        if model.training:
            self._watch.see(outputs["loss"], inputs, self.state.global_step)
        self._parts.add(outputs["parts"])
        return (outputs["loss"], {}) if return_outputs else outputs["loss"]

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

    def _prepare_inputs(self, inputs: Any) -> Batch:
        return super()._prepare_inputs(as_batch(inputs))

    def _track_num_input_tokens(self, inputs: Batch) -> None:
        if self.args.include_num_input_tokens_seen != "no":
            counts = map(layouts.tokens_in, as_batch(inputs)["columns"].values())
            own = torch.tensor(sum(counts), device=self.args.device)
            self.state.num_input_tokens_seen += int(self.accelerator.gather(own).sum())

    # Data -----------------------------------------------------------------------------------------

    def get_data_collator(self, model: SentenceTransformer) -> SentenceTransformerDataCollator:
        """What makes batches of rows, reading texts as the model does."""
        return SentenceTransformerDataCollator(
            preprocess_fn=model.preprocess,
            router_mapping=self.args.router_mapping,
            prompts=self.args.prompts,
        )

    def get_batch_sampler(self, dataset: Any, **options: Any) -> Any:
        """Which rows of a dataset come together; override it for a sampler of your own.

        Args:
            dataset: The rows.
            **options: `batch_size`, `drop_last`, `valid_label_columns`, `generator`, `seed`.
        """
        return loaders.row_sampler(self.args, dataset, **options)

    def get_multi_dataset_batch_sampler(
        self, dataset: Any, batch_samplers: Sequence[Any], **options: Any
    ) -> Any:
        """Which dataset the next batch comes from; override it for an order of your own."""
        return loaders.dataset_sampler(self.args, dataset, batch_samplers, **options)

    def get_train_dataloader(self) -> DataLoader:
        """Batches to train on."""
        if self.train_dataset is None:
            raise SettingError("there is no train_dataset; give the trainer one")
        # Rows that come twice to make batches even would be false negatives.
        self.accelerator.even_batches = False
        return self._loader(self.train_dataset, self._train_batch_size, is_training=True)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Batches to evaluate on.

        Args:
            eval_dataset: A dataset, or the name of one of `eval_dataset`; by default that one.
        """
        eval_dataset = self._chosen(eval_dataset)
        if eval_dataset is None:
            if self.evaluators:
                return DataLoader([])  # type: ignore[arg-type]
            raise SettingError("there is no eval_dataset and no evaluator; give the trainer one")
        self.accelerator.even_batches = True
        return self._loader(eval_dataset, self.args.eval_batch_size, is_training=False)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As `get_eval_dataloader`."""
        return self.get_eval_dataloader(as_dataset(test_dataset, "test_dataset"))

    def _chosen(self, eval_dataset: Any) -> Any:
        """The dataset itself, the one of that name, or by default the trainer's."""
        if isinstance(eval_dataset, str):
            return NumberedRows({eval_dataset: self.eval_dataset[eval_dataset]})
        return self.eval_dataset if eval_dataset is None else eval_dataset

    def _loader(self, dataset: Any, batch_size: int, *, is_training: bool) -> DataLoader:
        loader = loaders.make_loader(self, dataset, batch_size, is_training=is_training)
        return self.accelerator.prepare(loader)

    # Evaluation -----------------------------------------------------------------------------------

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """The loss on held-out rows, and the metrics of the evaluators.

        Args:
            eval_dataset: In place of the trainer's; or the name of one of them.
            ignore_keys: Not used.
            metric_key_prefix: What names of metrics begin with; a dataset's name comes after it.
        """
        chosen = self._chosen(eval_dataset)
        if not isinstance(chosen, NumberedRows):
            chosen = as_dataset(chosen, "eval_dataset")
            if eval_dataset is not None:
                check_routes(self.model, self.data_collator, {"eval_dataset": chosen})
        several = chosen if isinstance(chosen, Mapping) else {None: chosen}
        metrics: dict[str, float] = {}
        for place, (name, dataset) in enumerate(several.items()):
            prefix = metric_key_prefix if name is None else f"{metric_key_prefix}_{name}"
            rows = dataset if name is None else NumberedRows({name: dataset})
            # The evaluators have rows of their own: they run once, not once for each dataset.
            self._evaluators_due = metric_key_prefix if place == 0 else None
            metrics |= super().evaluate(rows, ignore_keys, prefix)
        self._evaluators_due = None
        return metrics

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The loss of the batches, its parts, and the evaluators when it is their turn."""
        unlogged, self._parts = self._parts, PartMeans()
        with self._step_as_model():
            output = super().evaluation_loop(
                dataloader, description, True, ignore_keys, metric_key_prefix
            )
        metrics: Any = output.metrics
        metrics.update(with_prefix(self._parts.take(gather_object), metric_key_prefix))
        self._parts = unlogged
        if self.evaluators and self._evaluators_due is not None:
            found = run_evaluators(
                self.evaluators,
                self.model,
                self.evaluation_folder,
                is_main=self.is_world_process_zero(),
                epoch=self.state.epoch,
                steps=self.state.global_step,
            )
            metrics.update(with_prefix(found, self._evaluators_due))
            self._settle_metric(metrics)
        return output

    def _settle_metric(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Put the full name of the metric that decides into the arguments."""
        wanted = self.args.metric_for_best_model
        if wanted is None or self.args.eval_strategy == IntervalStrategy.NO:
            return
        if metrics is None:
            name = check_metric(wanted, self.eval_dataset, self.evaluators)
        else:
            found = named_by(wanted, list(metrics))
            name = found[0] if len(found) == 1 else wanted
        if name.removeprefix("eval_") != wanted.removeprefix("eval_"):
            self.args = copy.copy(self.args)
            self.args.metric_for_best_model = name

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        if self.args.metric_for_best_model is None:
            return super()._determine_best_metric(metrics, trial)
        name = resolved(self.args.metric_for_best_model, metrics)
        is_best = super()._determine_best_metric(metrics, trial)
        if not is_nan(metrics[name]):
            return is_best
        warn(f"{name} is NaN at step {self.state.global_step}; it counts as worst")
        # Until there is a number the last model is the one to keep.
        return self.state.best_global_step is None and not math.isfinite(
            self.state.best_metric or 0
        )

    # Checkpoints ----------------------------------------------------------------------------------

    @property
    def _checkpoint_name(self) -> str:
        return f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._watch.check()  # a model whose loss is NaN is not worth keeping
        runs = self._get_output_dir(trial)
        place = Path(runs) / self._checkpoint_name
        is_writer, wait = self.args.should_save, self.accelerator.wait_for_everyone
        with written_whole(place, is_writer=is_writer, wait=wait) as staged:
            self._staging = staged.parent
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            if self.state.best_model_checkpoint == str(staged):
                self.state.best_model_checkpoint = str(place)
            if is_writer:
                self.step.save_own_weights(staged)
                self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(place))
        if is_writer:
            rotate(Path(runs), self.args.save_total_limit, self.state.best_model_checkpoint)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._staging is None:  # it is not in its place before
            # transformers copies the files of an encoder; a model has more.
            if self.is_world_process_zero() and self.args.hub_strategy != HubStrategy.END:
                copy_model(Path(checkpoint_folder), Path(str(self.args.output_dir)))
            super()._push_from_checkpoint(checkpoint_folder)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write the model's card into `args.output_dir`; what is given is noted in the card's data.

        Args:
            language: Code of a language, as "en".
            license: As the Hub names it.
            tags: Tags to add.
            model_name: How the card calls the model.
            finetuned_from: Hub id of the model it was made from.
            tasks: Not used; the task of such models is always the same.
            dataset_tags: Ids of datasets on the Hub.
            dataset: The same.
            dataset_args: Not used.
        """
        if not self.is_world_process_zero():
            return
        data = self.model.model_card_data
        data.language, data.license = language or data.language, license or data.license
        data.base_model = finetuned_from or data.base_model
        data.tags = [*(data.tags or ()), *as_names(tags)]
        datasets = [*as_names(dataset), *as_names(dataset_tags)]
        names = {"model_name": model_name, "model_id": getattr(self, "hub_model_id", None)}
        write_card(self.model, str(self.args.output_dir), train_datasets=datasets, **names)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir)).expanduser()
        self.model.save_pretrained(str(folder))
        self._recorder.write(folder)
        # As text: what transformers writes here is a pickle, which may run code when it is read.
        files.write(folder / "training_args.json", self.args.to_json_string().encode())

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint))
        self.step.load_own_weights(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))
