"""`model.fit`: the short way to train, with DataLoaders of InputExamples."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from sentune.errors import SettingError, warn
from sentune.share.publish import write_card
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.best_model import is_better_greater, is_nan, main_score
from sentune.training.evaluating import Evaluator, as_list
from sentune.training.fit_loaders import LoaderRows, steps_of
from sentune.training.fit_settings import FitSettings, arguments_of, optimizer_of, schedule_of
from sentune.training.preflight import warn_of_saves
from sentune.training.run_recorder import write_run
from sentune.training.trainer import SentenceTransformerTrainer

if TYPE_CHECKING:
    from sentune.encoder.sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


def fit(
    model: SentenceTransformer,
    train_objectives: Iterable[tuple[Any, nn.Module]],
    evaluator: Evaluator | Sequence[Evaluator] | None = None,
    epochs: int = 1,
    steps_per_epoch: int | None = None,
    scheduler: str = "WarmupLinear",
    warmup_steps: int = 10000,
    optimizer_class: type[Optimizer] = torch.optim.AdamW,
    optimizer_params: Mapping[str, Any] | None = None,
    weight_decay: float = 0.01,
    evaluation_steps: int = 0,
    output_path: str | None = None,
    save_best_model: bool = True,
    max_grad_norm: float = 1,
    use_amp: bool | None = None,
    callback: Callable[[float, float, int], None] | None = None,
    show_progress_bar: bool = True,
    checkpoint_path: str | None = None,
    checkpoint_save_steps: int = 500,
    checkpoint_save_total_limit: int = 0,
    resume_from_checkpoint: bool | str = False,
) -> None:
    """Train a model on batches of `InputExample`s.

    The loaders' own batches are trained on, as their batch size, shuffle and sampler make them.
    Several objectives take turns, one batch of each.

    Args:
        model: The model; it is trained in place.
        train_objectives: Pairs of a `DataLoader` over `InputExample`s and a loss.
        evaluator: Run at the end of each epoch, and every `evaluation_steps`; or a list of them,
            of which the last gives the score.
        epochs: How often the smallest loader is gone through.
        steps_per_epoch: Batches of each objective in an epoch, in place of those of the smallest
            loader. Loaders go on in the next epoch where they were, and begin again at their end.
        scheduler: How the learning rate goes: "ConstantLR", "WarmupConstant", "WarmupLinear",
            "WarmupCosine" or "WarmupCosineWithHardRestarts".
        warmup_steps: Steps in which the learning rate rises from 0.
        optimizer_class: Class of the optimizer.
        optimizer_params: Its settings; by default a learning rate of 2e-5.
        weight_decay: For all parameters but biases and LayerNorm.
        evaluation_steps: Also evaluate each time after so many steps; 0 for never.
        output_path: Folder for the model: the best according to the evaluator, else the last;
            and for the evaluator's tables.
        save_best_model: Whether the best model is kept there; else the last one.
        max_grad_norm: Longer gradients are scaled down to this length.
        use_amp: Whether to compute in half precision where that is safe: float16 on CUDA,
            bfloat16 elsewhere. By default bfloat16 where the chip has it natively; False for exact
            float32.
        callback: Called with score, epoch and step after each evaluation.
        show_progress_bar: Whether to draw one.
        checkpoint_path: Folder for checkpoints; None for no checkpoints.
        checkpoint_save_steps: Save a checkpoint each time after so many steps.
        checkpoint_save_total_limit: How many are kept; 0 for all.
        resume_from_checkpoint: True to go on from the last checkpoint in `checkpoint_path`, if
            there is one; or the checkpoint's folder.

    Raises:
        SettingError: If an argument is outside of what is allowed.
        DatasetError: If a loader gives something else than `InputExample`s.
        TrainingError: If the loss is NaN, or a checkpoint cannot be written or read.
    """
    objectives = _checked(train_objectives)
    loaders = [loader for loader, _ in objectives]
    sizes = [getattr(loader, "batch_size", None) for loader in loaders]
    settings = FitSettings(
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        scheduler=scheduler,
        warmup_steps=warmup_steps,
        optimizer_class=optimizer_class,
        optimizer_params=optimizer_params,
        weight_decay=weight_decay,
        evaluation_steps=evaluation_steps,
        save_best_model=save_best_model,
        max_grad_norm=max_grad_norm,
        use_amp=use_amp,
        batch_size=sizes[0] if len(sizes) == 1 else sizes,
    )
    steps = steps_per_epoch or steps_of(loaders)
    evaluator = next(iter(as_list(evaluator)), None)
    keeps_best = save_best_model and evaluator is not None
    keeper = _Keeper(evaluator, output_path, keeps_best, callback)
    saves = checkpoint_path is not None and (checkpoint_save_steps or 0) > 0
    with ExitStack() as stack:
        args = arguments_of(
            settings,
            model,
            steps,
            # A folder is asked for, also where nothing is written to it.
            output_dir=checkpoint_path or stack.enter_context(TemporaryDirectory()),
            eval_strategy="steps"
            if evaluator is not None and (evaluation_steps or 0) > 0
            else "no",
            disable_tqdm=not show_progress_bar,
            save_strategy="steps" if saves else "no",
            save_steps=checkpoint_save_steps if saves else 500,
            save_total_limit=checkpoint_save_total_limit or None,
        )
        trainer = _trainer(settings, model, args, objectives, keeper, steps)
        trainer.saves_on_interrupt = checkpoint_path is not None
        trainer.train(_checkpoint(resume_from_checkpoint, checkpoint_path))
    model.eval()


@dataclass(eq=False)
class _Keeper(TrainerCallback):
    """Evaluates at the end of an epoch, tells the user's callback, and keeps the model."""

    evaluator: Evaluator | None
    folder: str | None
    keeps_best: bool
    callback: Callable[[float, float, int], None] | None
    best: float | None = None
    evaluated_at: int = -1
    kept_step: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Warn if the model that this run is to keep could not be written."""
        if self.folder is not None and state.is_world_process_zero:
            warn_of_saves(kwargs["model"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for an evaluation, unless there was one in this very step."""
        if self.evaluator is not None and self.evaluated_at != state.global_step:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the score, and keep the model if it is the best."""
        self.evaluated_at = state.global_step
        score = main_score(self.evaluator, kwargs["metrics"])  # type: ignore[arg-type]
        if self.callback is not None:
            self.callback(score, state.epoch, state.global_step)
        if is_nan(score):
            warn(f"the evaluator's score is NaN at step {state.global_step}; it counts as worst")
        sign = 1 if is_better_greater(self.evaluator) else -1
        # While none was a number the last is kept.
        if self.best is None or is_nan(self.best) or sign * score > sign * self.best:
            self.best, self.kept_step = score, state.global_step
            if self.keeps_best:
                self._save(state, kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the last model; or note in card and record of the best one how the run went on."""
        model = kwargs["model"]
        if self.best is not None and is_nan(self.best):
            warn("every score of the evaluator was NaN: there is no best model, the last is kept")
        if not self.keeps_best:
            self._save(state, model)
        elif self.folder is not None and self.best is not None and state.is_world_process_zero:
            write_card(model, self.folder, step=self.kept_step)
            self._record(model, self.kept_step)

    def _save(self, state: Any, model: Any) -> None:
        if self.folder is not None and state.is_world_process_zero:
            model.save_pretrained(self.folder)
            self._record(model)

    def _record(self, model: Any, step: int | None = None) -> None:
        if self.folder is not None and model.model_card_data.runs:
            write_run(model.model_card_data.runs[-1], self.folder, step)


def _trainer(
    settings: FitSettings,
    model: SentenceTransformer,
    args: SentenceTransformerTrainingArguments,
    objectives: list[tuple[Any, nn.Module]],
    keeper: _Keeper,
    steps: int,
) -> SentenceTransformerTrainer:
    """The trainer of a run of `fit`."""
    rows = [LoaderRows(loader) for loader, _ in objectives]
    losses = [loss for _, loss in objectives]
    names = [f"objective {place}" for place in range(len(rows))]
    optimizer = optimizer_of(settings, nn.ModuleList([model, *losses]))
    steps_of_process = steps // args.world_size
    schedule = schedule_of(settings, optimizer, steps_of_process * settings.epochs * len(rows))
    trainer = SentenceTransformerTrainer(
        model=model,
        args=args,
        train_dataset=rows[0] if len(rows) == 1 else dict(zip(names, rows, strict=True)),
        loss=losses[0] if len(rows) == 1 else dict(zip(names, losses, strict=True)),
        evaluator=keeper.evaluator,
        callbacks=[keeper],
        optimizers=(optimizer, schedule),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.evaluation_folder = None if keeper.folder is None else Path(keeper.folder) / "eval"
    trainer.settings_shown = (settings.to_dict(), FitSettings().to_dict())
    return trainer


def _checked(objectives: Iterable[tuple[Any, nn.Module]]) -> list[tuple[Any, nn.Module]]:
    """The pairs of a loader and a loss."""
    pairs = list(objectives)
    if not pairs or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs):
        raise SettingError(
            "train_objectives must be a list of pairs: [(DataLoader, loss), ...]; "
            f"got {type(objectives).__name__} of {[type(pair).__name__ for pair in pairs]}"
        )
    for _, loss in pairs:
        if not isinstance(loss, nn.Module):
            raise SettingError(
                f"the second of each pair in train_objectives must be a loss, got {loss!r}; "
                "make it with the model, as losses.TripletLoss(model)"
            )
    return pairs


def _checkpoint(wanted: bool | str, folder: str | None) -> str | None:
    """The checkpoint to go on from."""
    if not isinstance(wanted, bool):
        return wanted
    if not wanted:
        return None
    if folder is None:
        raise SettingError("resume_from_checkpoint=True needs the checkpoint_path to look in")
    found = get_last_checkpoint(folder) if Path(folder).is_dir() else None
    if found is None:
        logger.warning("there is no checkpoint in %s yet: training begins at the start", folder)
    return found
