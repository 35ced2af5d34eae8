"""What `fit` of sentence-transformers adds to a trainer, for trainers of a user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sentune.training.best_model import is_better_greater, is_nan, main_score
from sentune.training.evaluating import Evaluator, run_evaluators, with_prefix


class EvaluatorCallback(TrainerCallback):
    """Runs an evaluator at the end of each epoch, and tells the trainer's callbacks.

    Args:
        evaluator: Called with the model.
        output_path: Its tables are written into the folder "eval" in it; None for nowhere.

    Attributes:
        trainer: The trainer whose callbacks are told; None for none.
    """

    def __init__(self, evaluator: Evaluator, output_path: str | None = None) -> None:
        self.evaluator = evaluator
        self.output_path = None if output_path is None else str(Path(output_path) / "eval")
        self.metric_key_prefix = "eval"
        self.trainer: Any = None

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate."""
        folder = None if self.output_path is None else Path(self.output_path)
        metrics = run_evaluators(
            [self.evaluator],
            kwargs["model"],
            folder,
            is_main=state.is_world_process_zero,
            epoch=state.epoch,
            steps=state.global_step,
        )
        if self.trainer is not None:
            named = with_prefix(metrics, self.metric_key_prefix)
            self.trainer.callback_handler.on_evaluate(args, state, control, metrics=named)


class OriginalCallback(TrainerCallback):
    """Calls a function with score, epoch and step after each evaluation.

    Args:
        callback: The function.
        evaluator: The evaluator whose main metric is the score.
    """

    def __init__(self, callback: Callable[[float, int, int], None], evaluator: Evaluator) -> None:
        self.callback = callback
        self.evaluator = evaluator

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Call it."""
        score = main_score(self.evaluator, kwargs["metrics"])
        return self.callback(score, state.epoch, state.global_step)


class SaveModelCallback(TrainerCallback):
    """Saves the model: the best one after an evaluation, else the last one.

    Args:
        output_dir: The folder.
        evaluator: The evaluator whose main metric decides; None for the last model.
        save_best_model: False for the last model, too.
    """

    def __init__(self, output_dir: str, evaluator: Evaluator | None, save_best_model: bool) -> None:
        self.output_dir = output_dir
        self.evaluator = evaluator
        self.save_best_model = save_best_model
        self.best_metric: float | None = None

    def is_better(self, new_metric: float) -> bool:
        """Whether a score is better than the best so far; one that is NaN never is."""
        if self.best_metric is None or is_nan(self.best_metric):
            return True
        sign = 1 if is_better_greater(self.evaluator) else -1
        return sign * new_metric > sign * self.best_metric

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the model if it is the best."""
        if self.evaluator is None or not self.save_best_model:
            return
        score = main_score(self.evaluator, kwargs["metrics"])
        if self.is_better(score):
            self.best_metric = score
            kwargs["model"].save(self.output_dir)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the last model, where no best one is kept."""
        if self.evaluator is None or not self.save_best_model:
            kwargs["model"].save(self.output_dir)
