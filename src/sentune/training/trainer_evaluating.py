"""What a trainer measures: the loss on held-out rows, the evaluators, and which model is best."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput, IntervalStrategy

from sentune.errors import warn
from sentune.training.best_model import check_metric, is_nan, named_by, resolved
from sentune.training.dataset_rows import named_rows
from sentune.training.evaluating import run_evaluators, with_prefix
from sentune.training.nan_guard import PartMeans
from sentune.training.preflight import check_routes
from sentune.training.trainer_loading import LoadingTrainer
from sentune.training.training_step import TrainingStep


class EvaluatingTrainer(LoadingTrainer):
    """The part of the trainer that evaluates."""

    model: Any
    step: TrainingStep
    evaluation_folder: Path | None
    _parts: PartMeans
    # What the names of the evaluators' metrics begin with, when it is their turn.
    _evaluators_due: str | None = None

    @contextmanager
    def _step_as_model(self) -> Iterator[None]:
        model, self.model = self.model, self.step
        try:
            yield
        finally:
            self.model = model

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
        if eval_dataset is not None and not isinstance(eval_dataset, str):
            chosen = self.preprocess_dataset(chosen, "eval")
            check_routes(self.model, self.data_collator, {"eval_dataset": chosen})
        several = chosen if isinstance(chosen, Mapping) else {None: chosen}
        metrics: dict[str, float] = {}
        for place, (name, dataset) in enumerate(several.items()):
            prefix = metric_key_prefix if name is None else f"{metric_key_prefix}_{name}"
            rows = dataset if name is None else named_rows(name, dataset)
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
