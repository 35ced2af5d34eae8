"""Which metric says what model is best: its name, found before the first step, and NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sentune.errors import SettingError
from sentune.evaluation import SentenceEvaluator, SequentialEvaluator
from sentune.training.evaluating import Evaluator

_START = "eval_"
# What the trainer adds to the metrics of the evaluators.
_OF_TRAINER = ("epoch", "loss", "_runtime", "_per_second", "_preparation_time", "_compilation_time")


def metric_names(eval_dataset: Any, evaluators: Sequence[Evaluator]) -> list[str]:
    """The losses that an evaluation gives, and the main metrics; "..." for what is not known."""
    names = []
    if isinstance(eval_dataset, Mapping):
        names = [f"{_START}{name}_loss" for name in eval_dataset]
    elif eval_dataset is not None:
        names = [f"{_START}loss"]
    for evaluator in evaluators:
        if isinstance(evaluator, SequentialEvaluator):
            names += metric_names(None, evaluator.evaluators)
        main = getattr(evaluator, "primary_metric", None) or "..."
        start = f"{getattr(evaluator, 'name', '') or ''}_".lstrip("_")
        names.append(_START + start + main.removeprefix(start))
    return names


def check_metric(wanted: str, eval_dataset: Any, evaluators: Sequence[Evaluator]) -> str:
    """The full name of the metric that decides; raise if no evaluation can give it."""
    names = metric_names(eval_dataset, evaluators)
    found = named_by(wanted, names)
    if len(found) == 1:
        return found[0]
    # Besides the main metric an evaluator has others, but those of this library have no loss.
    is_loss = wanted.endswith("loss") and all(map(_says_all, evaluators))
    if len(found) > 1 or not evaluators or is_loss:
        raise SettingError(_unknown(wanted, names))
    return wanted


def resolved(wanted: str, metrics: Mapping[str, Any]) -> str:
    """The full name of a metric among those that there are."""
    found = named_by(wanted, list(metrics))
    if len(found) != 1:
        of_trainer = set(_OF_TRAINER) - {"loss"}
        names = [name for name in metrics if not name.endswith(tuple(of_trainer))]
        raise SettingError(_unknown(wanted, names))
    return found[0]


def named_by(wanted: str, names: Sequence[str]) -> list[str]:
    """The one with this name, with `eval_` or without; else all whose names end with it."""
    plain = wanted.removeprefix(_START)
    exact = [name for name in names if name.removeprefix(_START) == plain]
    return exact[:1] or [name for name in names if name.endswith(f"_{plain}")]


def main_score(evaluator: Evaluator, metrics: Mapping[str, Any]) -> float:
    """The metric of an evaluator that says which model is best; the first where it names none."""
    main = f"{_START}{getattr(evaluator, 'primary_metric', None)}"
    if main in metrics:
        return metrics[main]
    own = [value for name, value in metrics.items() if not name.endswith(_OF_TRAINER)]
    if not own:
        raise SettingError("the evaluator gave no metric; return a number, or a dict of them")
    return own[0]


def is_better_greater(evaluator: Any) -> bool:
    """Whether the best model has the highest score; of several evaluators the last one says it."""
    if isinstance(evaluator, SequentialEvaluator) and evaluator.evaluators:
        return is_better_greater(evaluator.evaluators[-1])
    return getattr(evaluator, "greater_is_better", True)


def is_nan(value: Any) -> bool:
    """Whether a metric is not a number."""
    return value is None or math.isnan(float(value))


def _says_all(evaluator: Evaluator) -> bool:
    """Whether it is one of this library, or several of them."""
    if isinstance(evaluator, SequentialEvaluator):
        return all(map(_says_all, evaluator.evaluators))
    is_own = type(evaluator).__module__.startswith("sentune.")
    return is_own and isinstance(evaluator, SentenceEvaluator)


def _unknown(wanted: str, names: Sequence[str]) -> str:
    first = f"'{names[0]}'" if names else "'eval_loss' and give an eval_dataset or an evaluator"
    return (
        f"metric_for_best_model={wanted!r} names none, or several, of the metrics of this run: "
        f"{', '.join(names) or 'there are none'}; set metric_for_best_model={first}"
    )
