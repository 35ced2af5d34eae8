"""Evaluators during training: run once, on the main process; everybody gets the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from accelerate.utils import broadcast_object_list

from sentune.errors import SettingError
from sentune.evaluation import SequentialEvaluator
from sentune.evaluation.base import called

Evaluator: TypeAlias = Callable[..., Any]


def as_list(evaluator: Evaluator | Sequence[Evaluator] | None) -> list[Evaluator]:
    """The evaluators of a run; those of a list as one, whose score is that of the last."""
    if evaluator is None or callable(evaluator):
        return [] if evaluator is None else [evaluator]
    several = list(evaluator)
    wrong = [type(one).__name__ for one in several if not callable(one)]
    if wrong:
        raise SettingError(f"evaluator must be an evaluator or a list of them, got {wrong}")
    return [SequentialEvaluator(several)] if several else []


def run_evaluators(
    evaluators: Sequence[Evaluator],
    model: Any,
    folder: Path | None,
    *,
    is_main: bool,
    epoch: float = -1,
    steps: int = -1,
) -> dict[str, float]:
    """The metrics of all evaluators; a number that one gives is called "evaluator"."""
    metrics: dict[str, float] = {}
    if is_main:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        path = None if folder is None else str(folder)
        for evaluator in evaluators:
            found = called(evaluator, model, output_path=path, epoch=epoch, steps=steps)
            metrics |= found if isinstance(found, Mapping) else {"evaluator": found}
    return broadcast_object_list([metrics])[0]


def with_prefix(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """The metrics under names that begin with a prefix, and an underscore, once."""
    start = f"{prefix}_"
    return {name if name.startswith(start) else start + name: m for name, m in metrics.items()}
