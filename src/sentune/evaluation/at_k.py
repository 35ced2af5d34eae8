"""The metrics of a ranking and the numbers of ranks they look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from sentune.errors import SettingError
from sentune.evaluation import metrics as figures
from sentune.vectors.similarity import SimilarityFunction

LABELS = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "mrr": "MRR",
    "ndcg": "NDCG",
    "map": "MAP",
}


@dataclass
class AtK:
    """For each metric of a ranking, how many ranks it looks at; several numbers each.

    Args:
        mrr: For the mean reciprocal rank.
        ndcg: For nDCG; the largest names the primary metric.
        accuracy: For accuracy.
        precision_recall: For precision and recall.
        map: For mean average precision.
    """

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
        """The metrics, such as `ndcg@10`.

        Args:
            hits: `(b, depth)`, whether the document at each rank is relevant.
            relevant: `(b,)`, how many are relevant to each query.
        """
        values = {}
        for metric, k in self._columns():
            function = getattr(figures, f"{metric}_at_k")
            needs_total = metric in ("recall", "ndcg", "map")
            values[f"{metric}@{k}"] = function(hits, *([relevant] if needs_total else []), k)
        return values

    def csv_row(self, metrics: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
        """The metrics under the names of the columns, in their order.

        Args:
            metrics: Keys such as `cosine_ndcg@10`.
            names: Of the ways to score.
        """
        return {
            f"{name}-{LABELS[metric]}@{k}": metrics[f"{name}_{metric}@{k}"]
            for name in names
            for metric, k in self._columns()
        }

    def primary_metric(
        self, metrics: Mapping[str, float], names: Iterable[str], main: SimilarityFunction | None
    ) -> str:
        """The nDCG of the main way to score, or of the best where none is the main one.

        Args:
            metrics: Keys such as `cosine_ndcg@10`.
            names: Of the ways to score.
            main: The main one.
        """
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
