"""The metrics of a ranking and the numbers of ranks they look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from sentune.errors import SettingError
from sentune.evaluation import metrics as figures
from sentune.vectors.similarity import SimilarityFunction

LABELS = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall"}
LABELS |= {name: name.upper() for name in ("mrr", "ndcg", "map")}


@dataclass
class AtK:
    """For each metric of a ranking, how many ranks it counts; several numbers each."""

    mrr: Iterable[int]
    ndcg: Iterable[int]
    accuracy: Iterable[int]
    precision_recall: Iterable[int]
    map: Iterable[int]

    def __post_init__(self) -> None:
        for field in fields(self):
            numbers = list(getattr(self, field.name))
            if not numbers or min(numbers) < 1:
                raise SettingError(
                    f"{field.name}_at_k must hold at least one number of ranks, each at least 1; "
                    f"got {numbers}"
                )
            setattr(self, field.name, numbers)

    @property
    def depth(self) -> int:
        """How many ranks have to be known."""
        return max(k for _, k in self._columns())

    def measure(self, hits: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
        """The metrics, such as `ndcg@10`; hits and relevant as in `evaluation.metrics`."""
        values = {}
        for metric, k in self._columns():
            total = [relevant] if metric in ("recall", "ndcg", "map") else []
            values[f"{metric}@{k}"] = getattr(figures, f"{metric}_at_k")(hits, *total, k)
        return values

    def grouped(self, hits: np.ndarray, relevant: np.ndarray) -> dict[str, dict[int, float]]:
        """As `measure`, as metric such as `ndcg@k` -> number of ranks -> value."""
        found: dict[str, dict[int, float]] = {}
        for key, value in self.measure(hits, relevant).items():
            metric, _, k = key.partition("@")
            found.setdefault(f"{metric}@k", {})[int(k)] = value
        return found

    def csv_columns(self, names: Iterable[str]) -> list[str]:
        """The names of the columns of a csv file."""
        return [f"{name}-{LABELS[metric]}@{k}" for name in names for metric, k in self._columns()]

    def csv_row(self, metrics: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
        """The metrics, such as `cosine_ndcg@10`, under the names of the columns, in their order."""
        names = list(names)
        keys = [f"{name}_{metric}@{k}" for name in names for metric, k in self._columns()]
        return dict(zip(self.csv_columns(names), (metrics[key] for key in keys), strict=True))

    def primary_metric(
        self, metrics: Mapping[str, float], names: Iterable[str], main: SimilarityFunction | None
    ) -> str:
        """The nDCG of the main way to score, or of the best where none is the main one."""
        keys = [f"{name}_ndcg@{max(self.ndcg)}" for name in ([main.value] if main else names)]
        return max(keys, key=lambda key: metrics.get(key, 0.0))

    def _columns(self) -> list[tuple[str, int]]:
        """Metric and number of ranks, in the order of the csv file."""
        return [
            *(("accuracy", k) for k in self.accuracy),
            *((metric, k) for k in self.precision_recall for metric in ("precision", "recall")),
            *(("mrr", k) for k in self.mrr),
            *(("ndcg", k) for k in self.ndcg),
            *(("map", k) for k in self.map),
        ]


class Ranks:
    """An attribute such as `ndcg_at_k` of an evaluator that has its numbers of ranks in `at_k`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.field = name.removesuffix("_at_k")

    def __get__(self, evaluator: Any, owner: type | None = None) -> Any:
        return self if evaluator is None else getattr(evaluator.at_k, self.field)

    def __set__(self, evaluator: Any, numbers: Iterable[int]) -> None:
        evaluator.at_k = replace(evaluator.at_k, **{self.field: numbers})
