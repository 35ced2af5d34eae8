"""Do the similarities of pairs rise and fall with the scores that people gave them?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sentune.errors import SettingError
from sentune.evaluation.base import SentenceEvaluator, checked_columns, function_names, names_for
from sentune.evaluation.metrics import pearson, spearman
from sentune.types import Encoder
from sentune.vectors.quantize import PRECISIONS
from sentune.vectors.similarity import SimilarityFunction


class EmbeddingSimilarityEvaluator(SentenceEvaluator):
    """Correlation of the similarity of pairs with gold scores: `spearman_cosine` and so on.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        sentences1, sentences2: The texts of each pair.
        scores: How alike they are, higher is more alike; the scale does not matter.
        main_similarity: The similarity whose Spearman correlation is the primary metric.
        similarity_fn_names: Similarities to evaluate with; by default the main one, else the
            model's own. With several, the keys ending in `_max` hold the highest.
        write_csv: Whether to write `similarity_evaluation_{name}_{precision}_results.csv`.
        precision: Quantize the embeddings before comparing.
    """

    def __init__(
        self,
        sentences1: Sequence[str],
        sentences2: Sequence[str],
        scores: Sequence[float],
        batch_size: int | None = None,
        main_similarity: str | SimilarityFunction | None = None,
        similarity_fn_names: Sequence[str] | None = None,
        name: str = "",
        show_progress_bar: bool | None = False,
        write_csv: bool = True,
        precision: str | None = None,
        truncate_dim: int | None = None,
    ) -> None:
        self.sentences1, self.sentences2, self.scores = checked_columns(
            sentences1=sentences1, sentences2=sentences2, scores=scores
        )
        if precision is not None and precision not in PRECISIONS:
            raise SettingError(f"precision {precision!r} is unknown; use one of {PRECISIONS}")
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self.main_similarity = SimilarityFunction(main_similarity) if main_similarity else None
        self.similarity_fn_names = function_names(similarity_fn_names, main_similarity)
        self.precision = precision
        self._name_csv_file("similarity_evaluation", name, precision)
        kinds = ("pearson", "spearman")
        self._name_csv_columns(*(f"{one}_{k}" for one in self.similarity_fn_names for k in kinds))

    @classmethod
    def from_input_examples(
        cls, examples: Sequence[Any], **kwargs: Any
    ) -> EmbeddingSimilarityEvaluator:
        """The evaluator of examples with two `texts` and a score as `label` each."""
        first, second = ([example.texts[side] for example in examples] for side in (0, 1))
        return cls(first, second, [example.label for example in examples], **kwargs)

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The correlations; arguments as in `SentenceEvaluator`."""
        names = names_for(model, self.similarity_fn_names)
        first, second = self._sides(model)
        metrics = {}
        for name in names:
            compare = SimilarityFunction.to_similarity_pairwise_fn(name)
            similarity = compare(first, second).numpy()
            metrics[f"pearson_{name}"] = pearson(self.scores, similarity)
            metrics[f"spearman_{name}"] = spearman(self.scores, similarity)
        # The file names the similarity first.
        row = {"_".join(reversed(key.split("_"))): value for key, value in metrics.items()}
        main = self.main_similarity.value if self.main_similarity else names[0]
        if len(names) > 1:
            for kind in ("pearson", "spearman"):
                metrics[f"{kind}_max"] = max(metrics[f"{kind}_{name}"] for name in names)
            main = main if self.main_similarity else "max"
        self.primary_metric = f"spearman_{main}"
        return self._report(model, metrics, row, output_path, epoch, steps)

    def _sides(self, model: Encoder) -> tuple[np.ndarray, np.ndarray]:
        options: dict[str, Any] = {}
        if self.precision:
            # Quantized directions: lengths would only widen the ranges.
            options = {"precision": self.precision, "normalize_embeddings": True}
        # Both sides in one call, so that they are quantized in the same ranges.
        texts = [*self.sentences1, *self.sentences2]
        embeddings = self._embed(model, texts, **options)
        if self.precision in ("binary", "ubinary"):
            offset = 128 if self.precision == "binary" else 0
            embeddings = np.unpackbits((embeddings + np.int16(offset)).astype(np.uint8), axis=1)
        if self.precision and self.precision != "float32":
            embeddings = embeddings.astype(np.float32)
        return embeddings[: len(self.sentences1)], embeddings[len(self.sentences1) :]

    @property
    def description(self) -> str:
        """As the base's."""
        return "Semantic Similarity"

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        precision = {"precision": self.precision} if self.precision else {}
        return {**super().get_config_dict(), **precision}
