"""Evaluators during training: run once, on the main process; everybody gets the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from accelerate.utils import broadcast_object_list

Evaluator: TypeAlias = Callable[..., Any]


def as_list(evaluator: Evaluator | Sequence[Evaluator] | None) -> list[Evaluator]:
    """The evaluators of a run, however many were given."""
    if evaluator is None:
        return []
    return [evaluator] if callable(evaluator) else list(evaluator)


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
            found = evaluator(model, output_path=path, epoch=epoch, steps=steps)
            metrics |= found if isinstance(found, Mapping) else {"evaluator": found}
    return broadcast_object_list([metrics])[0]


def with_prefix(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """The metrics under names that begin with a prefix, and an underscore, once."""
    start = f"{prefix}_"
    return {name if name.startswith(start) else start + name: m for name, m in metrics.items()}


def main_metric(evaluator: Evaluator) -> str:
    """Name of the metric that says which model is best, as `run_evaluators` names it."""
    return getattr(evaluator, "primary_metric", None) or "evaluator"
