"""Retrieval on small versions of thirteen public collections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sentune.data.raw import FORMATS
from sentune.data.read import whole
from sentune.errors import DatasetError, SettingError
from sentune.evaluation.at_k import AtK, Ranks
from sentune.evaluation.base import SentenceEvaluator
from sentune.evaluation.information_retrieval import InformationRetrievalEvaluator
from sentune.types import Encoder
from sentune.vectors.similarity import Similarity, SimilarityFunction

_COLLECTIONS = """
ClimateFEVER DBPedia FEVER FiQA2018 HotpotQA MSMARCO NFCorpus NQ QuoraRetrieval SCIDOCS ArguAna
SciFact Touche2020
"""
SPLITS = {name.lower(): f"Nano{name}" for name in _COLLECTIONS.split()}


class NanoBEIREvaluator(SentenceEvaluator):
    """Retrieval metrics of each NanoBEIR collection, and their mean.

    The primary metric is `NanoBEIR_mean_cosine_ndcg@10`.

    Args:
        dataset_names: Which collections, such as "msmarco" or "SciFact"; None for all.
        dataset_id: A dataset on the Hub with the parts `corpus`, `queries` and `qrels`, each with
            a split per collection (`NanoMSMARCO`, ...); or a folder of the same shape with files
            such as `corpus/NanoMSMARCO.jsonl`.
        write_csv: Whether to write `NanoBEIR_evaluation_{aggregate_key}_results.csv`, besides a
            file per collection.
        aggregate_fn: One number from those of the collections.
        aggregate_key: Its name.
        query_prompts: Text to put before each query; one for all, or collection -> text.
        corpus_prompts: The same for the documents.

    The other arguments are those of `InformationRetrievalEvaluator`.
    """

    mrr_at_k, ndcg_at_k, accuracy_at_k = Ranks(), Ranks(), Ranks()
    precision_recall_at_k, map_at_k = Ranks(), Ranks()

    information_retrieval_class: ClassVar[Any] = InformationRetrievalEvaluator

    def __init__(
        self,
        dataset_names: Sequence[str] | None = None,
        dataset_id: str = "sentence-transformers/NanoBEIR-en",
        mrr_at_k: Sequence[int] = (10,),
        ndcg_at_k: Sequence[int] = (10,),
        accuracy_at_k: Sequence[int] = (1, 3, 5, 10),
        precision_recall_at_k: Sequence[int] = (1, 3, 5, 10),
        map_at_k: Sequence[int] = (100,),
        show_progress_bar: bool | None = False,
        batch_size: int | None = None,
        write_csv: bool = True,
        truncate_dim: int | None = None,
        score_functions: Mapping[str, Similarity] | None = None,
        main_score_function: str | SimilarityFunction | None = None,
        aggregate_fn: Callable[[list[float]], Any] = np.mean,
        aggregate_key: str = "mean",
        query_prompts: str | Mapping[str, str] | None = None,
        corpus_prompts: str | Mapping[str, str] | None = None,
        write_predictions: bool = False,
    ) -> None:
        self.dataset_names = _checked(dataset_names)
        self.dataset_id = dataset_id
        self.at_k = AtK(mrr_at_k, ndcg_at_k, accuracy_at_k, precision_recall_at_k, map_at_k)
        self.write_csv = write_csv
        self.truncate_dim = truncate_dim
        main = main_score_function
        self.main_score_function = SimilarityFunction(main) if main else None
        self.aggregate_fn = aggregate_fn
        self.query_prompts = self._prompts("query_prompts", query_prompts)
        self.corpus_prompts = self._prompts("corpus_prompts", corpus_prompts)
        self.csv_file = f"NanoBEIR_evaluation_{aggregate_key}_results.csv"
        self._suffix = f"_{truncate_dim}" if truncate_dim else ""
        self.name = f"NanoBEIR_{aggregate_key}{self._suffix}"
        self._names: list[str] = []
        self._name_csv_columns(*self.at_k.csv_columns(sorted(score_functions or ())))
        shared = {
            "mrr_at_k": mrr_at_k,
            "ndcg_at_k": ndcg_at_k,
            "accuracy_at_k": accuracy_at_k,
            "precision_recall_at_k": precision_recall_at_k,
            "map_at_k": map_at_k,
            "show_progress_bar": show_progress_bar,
            "batch_size": batch_size,
            "write_csv": write_csv,
            "truncate_dim": truncate_dim,
            "score_functions": score_functions,
            "main_score_function": main_score_function,
            "write_predictions": write_predictions,
        }
        self.evaluators = [self._evaluator(name, shared) for name in self.dataset_names]

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The metrics of each collection and over all; arguments as in `SentenceEvaluator`."""
        each: dict[str, float] = {}
        columns: dict[str, list[float]] = {}
        for evaluator in self.evaluators:
            found = evaluator(model, output_path, epoch, steps)
            each |= found
            for key, value in found.items():
                columns.setdefault(key.removeprefix(f"{evaluator.name}_"), []).append(value)
        metrics = {key: float(self.aggregate_fn(values)) for key, values in columns.items()}
        names = sorted({key.rpartition("_")[0] for key in metrics})
        if self._names != names:
            self._names = names
            self.primary_metric = self.at_k.primary_metric(metrics, names, self.main_score_function)
        row = self.at_k.csv_row(metrics, names)
        return {**each, **self._report(model, metrics, row, output_path, epoch, steps)}

    def store_metrics_in_model_card_data(self, *args: Any, **kwargs: Any) -> None:
        """As the base's, but nothing for one collection alone: its own evaluator has said it."""
        if len(self.evaluators) > 1:
            super().store_metrics_in_model_card_data(*args, **kwargs)

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        prompts = {"query_prompts": self.query_prompts, "corpus_prompts": self.corpus_prompts}
        return {
            "dataset_names": self.dataset_names,
            "dataset_id": self.dataset_id,
            **super().get_config_dict(),
            **{key: value for key, value in prompts.items() if value is not None},
        }

    def _prompts(
        self, argument: str, prompts: str | Mapping[str, str] | None
    ) -> dict[str, str] | None:
        """Collection -> prompt."""
        if prompts is None:
            return None
        if isinstance(prompts, str):
            return dict.fromkeys(self.dataset_names, prompts)
        if missing := [name for name in self.dataset_names if name not in prompts]:
            raise SettingError(f"{argument} has no prompt for {', '.join(missing)}")
        return dict(prompts)

    def _evaluator(self, name: str, shared: dict[str, Any]) -> InformationRetrievalEvaluator:
        split = SPLITS[name.lower()]
        relevant: dict[Any, set[Any]] = {}
        for row in self._read("qrels", split, ["query-id", "corpus-id"]):
            found = row["corpus-id"]
            relevant.setdefault(row["query-id"], set()).update(
                found if isinstance(found, list) else [found]
            )
        return self.information_retrieval_class(
            queries=self._texts("queries", split),
            corpus=self._texts("corpus", split),
            relevant_docs=relevant,
            name=split + self._suffix,
            query_prompt=(self.query_prompts or {}).get(name),
            corpus_prompt=(self.corpus_prompts or {}).get(name),
            **shared,
        )

    def _texts(self, part: str, split: str) -> dict[Any, str]:
        rows = self._read(part, split, ["_id", "text"])
        return {row["_id"]: row["text"] for row in rows if row["text"]}

    def _read(self, part: str, split: str, columns: list[str]) -> Any:
        folder = Path(self.dataset_id)
        if folder.is_dir():
            rows = whole(_file_of(folder / part, split))
        else:
            rows = whole(self.dataset_id, split=split, name=part)
        if missing := set(columns) - set(rows.column_names):
            raise DatasetError(
                f"{part} of {split} in {self.dataset_id} has the columns "
                f"{', '.join(rows.column_names)}; {', '.join(sorted(missing))} missing"
            )
        return rows


def _checked(names: Sequence[str] | None) -> list[str]:
    if names is None:
        return list(SPLITS)
    unknown = [name for name in names if name.lower() not in SPLITS]
    if unknown or not names:
        raise SettingError(
            f"dataset_names must be among {', '.join(SPLITS)}, got {', '.join(unknown) or 'none'}"
        )
    return list(names)


def _file_of(folder: Path, split: str) -> Path:
    """The file of a split, such as `NanoNQ.jsonl` or `NanoNQ-00000-of-00001.parquet`."""
    found = [
        path
        for path in sorted(folder.glob(f"{split}[.-]*"))
        if any(ending in FORMATS for ending in path.suffixes)
    ]
    if len(found) != 1:
        raise DatasetError(
            f"{folder} must hold one file for {split}, such as {split}.jsonl; it has {len(found)}"
        )
    return found[0]
