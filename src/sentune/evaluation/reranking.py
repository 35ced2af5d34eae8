"""Do the relevant ones of a few given documents come first?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from sentune.checks import check_sizes
from sentune.errors import InputError
from sentune.evaluation import metrics as figures
from sentune.evaluation.base import SentenceEvaluator
from sentune.tables import records_of, rows_of
from sentune.types import Encoder
from sentune.vectors.similarity import Similarity, cos_sim


class RerankingEvaluator(SentenceEvaluator):
    """MAP, MRR and nDCG of ordering each query's own documents: `ndcg@10`.

    Queries without positives or without negatives are left out.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        samples: Dicts with `query`, `positive` and `negative`; the last two are a list of
            documents, or one document.
        at_k: How many ranks MRR and nDCG look at; MAP looks at all.
        write_csv: Whether to write `RerankingEvaluator_{name}_results_@{at_k}.csv`.
        similarity_fct: Scores of all pairs.
        use_batched_encoding: Whether to encode all texts at once; False goes query by query,
            which takes less memory and more time.
        mrr_at_k: Older name of `at_k`.
    """

    works_on_tensors = True

    def __init__(
        self,
        samples: Sequence[Mapping[str, Any]] | Mapping[Any, Mapping[str, Any]],
        at_k: int = 10,
        name: str = "",
        write_csv: bool = True,
        similarity_fct: Similarity = cos_sim,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        use_batched_encoding: bool = True,
        truncate_dim: int | None = None,
        mrr_at_k: int | None = None,
    ) -> None:
        self.at_k = mrr_at_k or at_k
        check_sizes(at_k=self.at_k)
        given = samples.values() if isinstance(samples, Mapping) else samples
        given = records_of(given, "samples")
        lists = [_with_lists(sample) for sample in given]
        self.samples = [sample for sample in lists if sample["positive"] and sample["negative"]]
        if not self.samples:
            raise InputError(
                f"none of {len(given)} samples has both a positive and a negative document; "
                "give at least one that has"
            )
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self.similarity_fct = similarity_fct
        self.use_batched_encoding = use_batched_encoding
        suffix = f"_{name}" if name else ""
        self.csv_file = f"RerankingEvaluator{suffix}_results_@{self.at_k}.csv"
        self.primary_metric = f"ndcg@{self.at_k}"
        self._name_csv_columns("MAP", f"MRR@{self.at_k}", f"NDCG@{self.at_k}")

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The metrics; arguments as in `SentenceEvaluator`."""
        found = self.compute_metrics(model)
        names = ("map", f"mrr@{self.at_k}", f"ndcg@{self.at_k}")
        metrics = {name: found[name.partition("@")[0]] for name in names}
        row = {name.upper(): value for name, value in metrics.items()}
        return self._report(model, metrics, row, output_path, epoch, steps)

    def compute_metrics(self, model: Encoder) -> dict[str, float]:
        """`map`, `mrr` and `ndcg` of the model, by one of the two methods below."""
        batched = self.use_batched_encoding
        return (self.compute_metrics_batched if batched else self.compute_metrics_individual)(model)

    def compute_metrics_batched(self, model: Encoder) -> dict[str, float]:
        """As `compute_metrics`, with all texts encoded at once."""
        return self._measure(model, [self.samples])

    def compute_metrics_individual(self, model: Encoder) -> dict[str, float]:
        """As `compute_metrics`, query by query."""
        return self._measure(model, [[sample] for sample in self.samples])

    compute_metrices = compute_metrics
    compute_metrices_batched = compute_metrics_batched
    compute_metrices_individual = compute_metrics_individual

    def _measure(self, model: Encoder, groups: Sequence[Sequence[Any]]) -> dict[str, float]:
        found = []
        for scores, is_relevant in self._scored(model, groups):
            ranked = is_relevant[np.argsort(-scores, kind="stable")]
            precision = figures.average_precision(scores, is_relevant)
            mrr = figures.mrr_at_k(ranked[None], self.at_k)
            found.append((precision, mrr, figures.ndcg_of_scores(scores, is_relevant, self.at_k)))
        return dict(zip(("map", "mrr", "ndcg"), np.mean(found, axis=0).tolist(), strict=True))

    def embed_inputs(
        self,
        model: Any,
        sentences: Any,
        encode_fn_name: str | None = None,
        show_progress_bar: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `SentenceEvaluator`, with a progress bar or without."""
        options = {"show_progress_bar": show_progress_bar, **kwargs}
        return super().embed_inputs(model, sentences, encode_fn_name, **options)

    def _scored(
        self, model: Encoder, groups: Sequence[Sequence[Any]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each query the scores of its documents, and whether they are relevant."""
        for group in groups:
            texts = [document for sample in group for document in _documents(sample)]
            asked = [sample["query"] for sample in group]
            shown = {"show_progress_bar": self.show_progress_bar and self.use_batched_encoding}
            queries = self._embed(model, asked, encode_fn_name="query", **shown)
            documents = self._embed(model, texts, encode_fn_name="document", **shown)
            parts = documents.split([len(_documents(sample)) for sample in group])
            for sample, query, part in zip(group, queries, parts, strict=True):
                scores: Tensor = self.similarity_fct(query, part)
                is_relevant = np.arange(len(part)) < len(sample["positive"])
                yield scores.detach().flatten().float().cpu().numpy(), is_relevant

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        return {"at_k": self.at_k, **super().get_config_dict()}


def _with_lists(sample: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in ("query", "positive", "negative") if key not in sample]
    if missing:
        raise InputError(
            f"a sample needs the keys query, positive and negative; {', '.join(missing)} missing "
            f"from one that has {', '.join(sample)}"
        )
    lists = {
        side: [sample[side]] if isinstance(sample[side], str) else rows_of(sample[side], side)
        for side in ("positive", "negative")
    }
    return {**sample, **lists}


def _documents(sample: Mapping[str, Any]) -> list[Any]:
    return sample["positive"] + sample["negative"]
