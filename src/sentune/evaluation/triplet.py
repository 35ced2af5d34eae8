"""Is the positive closer to the anchor than the negative?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentune.errors import SettingError
from sentune.evaluation.base import SentenceEvaluator, checked_columns, function_names, names_for
from sentune.types import Encoder
from sentune.vectors.similarity import OF_VECTORS, SimilarityFunction


class TripletEvaluator(SentenceEvaluator):
    """The part of the triplets whose positive is closer than the negative: `cosine_accuracy`.

    Anchors are encoded as queries, the others as documents, so that a model's prompts apply.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        anchors, positives, negatives: The texts of each triplet.
        main_similarity_function: The similarity whose accuracy is the primary metric.
        margin: By how much the positive must be closer; one number, or one per similarity.
        write_csv: Whether to write `triplet_evaluation_{name}_results.csv`.
        similarity_fn_names: Similarities to evaluate with; by default the main one, else the
            model's own. With several, `max_accuracy` is the highest.
        main_distance_function: Older name of `main_similarity_function`.
    """

    def __init__(
        self,
        anchors: Sequence[Any],
        positives: Sequence[Any],
        negatives: Sequence[Any],
        main_similarity_function: str | SimilarityFunction | None = None,
        margin: float | dict[str, float] | None = None,
        name: str = "",
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
        similarity_fn_names: Sequence[str] | None = None,
        main_distance_function: str | SimilarityFunction | None = None,
    ) -> None:
        self.anchors, self.positives, self.negatives = checked_columns(
            anchors=anchors, positives=positives, negatives=negatives
        )
        main = main_similarity_function or main_distance_function
        self.main_similarity_function = SimilarityFunction(main) if main else None
        self.similarity_fn_names = function_names(similarity_fn_names, main)
        self.margin = _margins(margin)
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self._name_csv_file("triplet_evaluation", name)
        self._name_csv_columns(*(f"accuracy_{one}" for one in self.similarity_fn_names))

    @classmethod
    def from_input_examples(cls, examples: Sequence[Any], **kwargs: Any) -> TripletEvaluator:
        """The evaluator of examples with three `texts` each."""
        anchors, positives, negatives = ([e.texts[side] for e in examples] for side in range(3))
        return cls(anchors, positives, negatives, **kwargs)

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The accuracies; arguments as in `SentenceEvaluator`."""
        names = names_for(model, self.similarity_fn_names)
        anchors = self._embed(model, self.anchors, encode_fn_name="query")
        documents = [*self.positives, *self.negatives]
        others = self._embed(model, documents, encode_fn_name="document")
        positives, negatives = others[: len(anchors)], others[len(anchors) :]
        metrics, row = {}, {}
        for name in names:
            compare = SimilarityFunction.to_similarity_pairwise_fn(name)
            bound = compare(anchors, negatives) + self.margin[name]
            is_right = compare(anchors, positives) > bound
            metrics[f"{name}_accuracy"] = is_right.double().mean().item()
            row[f"accuracy_{name}"] = metrics[f"{name}_accuracy"]
        main = self.main_similarity_function
        self.primary_metric = f"{main.value if main else names[0]}_accuracy"
        if len(names) > 1:
            metrics["max_accuracy"] = max(metrics.values())
            self.primary_metric = self.primary_metric if main else "max_accuracy"
        return self._report(model, metrics, row, output_path, epoch, steps)

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        margin = {"margin": self.margin} if any(self.margin.values()) else {}
        return {**margin, **super().get_config_dict()}


def _margins(margin: float | dict[str, float] | None) -> dict[str, float]:
    """A margin for every similarity."""
    names = OF_VECTORS
    if isinstance(margin, dict) and set(margin) <= set(names):
        return {name: margin.get(name, 0) for name in names}
    if margin is None or isinstance(margin, (int, float)):
        return dict.fromkeys(names, margin or 0)
    raise SettingError(
        f"margin must be a number, or a dict with keys among {names}, got {margin!r}"
    )
