"""Does a threshold on the similarity separate pairs that are alike from others?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sentune.errors import InputError
from sentune.evaluation import metrics as figures
from sentune.evaluation.base import SentenceEvaluator, checked_columns, function_names, names_for
from sentune.types import Encoder
from sentune.vectors.similarity import SimilarityFunction

DISTANCES = ("euclidean", "manhattan")
COLUMNS = tuple("accuracy accuracy_threshold f1 precision recall f1_threshold ap mcc".split())


class BinaryClassificationEvaluator(SentenceEvaluator):
    """Average precision, best accuracy and best F1 of calling similar pairs alike: `cosine_ap`.

    Precision, recall and Matthews correlation are those at the threshold of the best F1. The
    thresholds of euclidean and manhattan are distances: alike is what is below.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        sentences1, sentences2: The texts of each pair.
        labels: 1 for pairs that are alike, 0 for others.
        write_csv: Whether to write `binary_classification_evaluation_{name}_results.csv`.
        similarity_fn_names: Similarities to evaluate with; by default the model's own. With
            several, the keys that start with `max_` hold the highest.
    """

    def __init__(
        self,
        sentences1: Sequence[str],
        sentences2: Sequence[str],
        labels: Sequence[int],
        name: str = "",
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
        similarity_fn_names: Sequence[str] | None = None,
    ) -> None:
        self.sentences1, self.sentences2, self.labels = checked_columns(
            sentences1=sentences1, sentences2=sentences2, labels=labels
        )
        if others := sorted({str(label) for label in self.labels if label not in (0, 1)}):
            raise InputError(f"labels must be 0 or 1, got {', '.join(others[:5])}")
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self.similarity_fn_names = function_names(similarity_fn_names)
        self._name_csv_file("binary_classification_evaluation", name)
        self._name_csv_columns(*(f"{one}_{c}" for one in self.similarity_fn_names for c in COLUMNS))

    @classmethod
    def from_input_examples(
        cls, examples: Sequence[Any], **kwargs: Any
    ) -> BinaryClassificationEvaluator:
        """The evaluator of examples with two `texts` and a `label` of 0 or 1 each."""
        first, second = ([example.texts[side] for example in examples] for side in (0, 1))
        return cls(first, second, [example.label for example in examples], **kwargs)

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The metrics; arguments as in `SentenceEvaluator`."""
        found = self.compute_metrics(model)
        names = list(found)
        metrics = {f"{name}_{key}": value for name in names for key, value in found[name].items()}
        row = {
            f"{name}_{column}": metrics[f"{name}_{column}"] for name in names for column in COLUMNS
        }
        self.primary_metric = f"{names[0]}_ap"
        if len(names) > 1:
            for column in COLUMNS:
                metrics[f"max_{column}"] = max(metrics[f"{name}_{column}"] for name in names)
            self.primary_metric = "max_ap"
        return self._report(model, metrics, row, output_path, epoch, steps)

    def compute_metrics(self, model: Encoder) -> dict[str, dict[str, float]]:
        """Similarity -> metric -> its value."""
        embeddings = self._embed(model, [*self.sentences1, *self.sentences2])
        first, second = embeddings[: len(self.labels)], embeddings[len(self.labels) :]
        found = {}
        for name in names_for(model, self.similarity_fn_names):
            scores = SimilarityFunction.to_similarity_pairwise_fn(name)(first, second).numpy()
            if name in DISTANCES:  # similarities by distance are minus the distance
                scores = -scores
            found[name] = self._measure(scores, np.asarray(self.labels), name not in DISTANCES)
        return found

    compute_metrices = compute_metrics

    def _measure(self, scores: np.ndarray, labels: np.ndarray, is_higher: bool) -> dict[str, float]:
        accuracy, accuracy_threshold = self.find_best_acc_and_threshold(scores, labels, is_higher)
        best = self.find_best_f1_and_threshold(scores, labels, is_higher)
        f1, precision, recall, f1_threshold = best
        sign = 1 if is_higher else -1
        return {
            "accuracy": accuracy,
            "accuracy_threshold": accuracy_threshold,
            "f1": f1,
            "f1_threshold": f1_threshold,
            "precision": precision,
            "recall": recall,
            "ap": figures.average_precision(sign * scores, labels),
            "mcc": figures.matthews_correlation(sign * scores >= sign * f1_threshold, labels),
        }

    @staticmethod
    def find_best_acc_and_threshold(
        scores: Any, labels: Any, high_score_more_similar: bool
    ) -> tuple[float, float]:
        """The highest accuracy that a threshold can give, and the threshold."""
        sign = 1 if high_score_more_similar else -1
        accuracy, threshold = figures.best_accuracy(sign * np.asarray(scores), labels)
        return accuracy, sign * threshold

    @staticmethod
    def find_best_f1_and_threshold(
        scores: Any, labels: Any, high_score_more_similar: bool
    ) -> tuple[float, float, float, float]:
        """The highest F1 that a threshold can give, its precision and recall, the threshold."""
        sign = 1 if high_score_more_similar else -1
        best = figures.best_f1(sign * np.asarray(scores), labels)
        return best.f1, best.precision, best.recall, sign * best.threshold
