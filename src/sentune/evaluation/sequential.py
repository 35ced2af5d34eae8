"""Several evaluators as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sentune.evaluation.base import SentenceEvaluator, called


def last(scores: Sequence[float]) -> float:
    """The last of the scores."""
    return scores[-1]


class SequentialEvaluator(SentenceEvaluator):
    """The metrics of several evaluators in one dict, and one number of them: `sequential_score`.

    Args:
        evaluators: Called one after the other.
        main_score_function: One number from the primary metrics of all; by default the last.
    """

    def __init__(
        self,
        evaluators: Iterable[Callable[..., Any]],
        main_score_function: Callable[[list[float]], float] = last,
    ) -> None:
        self.evaluators = list(evaluators)
        self.main_score_function = main_score_function
        self.primary_metric = "sequential_score"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The metrics of all; arguments as in `SentenceEvaluator`."""
        metrics: dict[str, float] = {}
        scores = []
        for place, evaluator in enumerate(self.evaluators):
            found = called(evaluator, model, output_path=output_path, epoch=epoch, steps=steps)
            if not isinstance(found, dict):
                found = {f"evaluator_{place}": found}
            main = getattr(evaluator, "primary_metric", None)
            scores.append(found[main if main in found else next(iter(found))])
            metrics |= found
        metrics["sequential_score"] = self.main_score_function(scores) if scores else 0.0
        return metrics

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        return {}
