"""Are the documents that answer a query found, and how high up?"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentune.checks import check_sizes
from sentune.disk import files
from sentune.errors import InputError, InputTypeError
from sentune.evaluation.at_k import AtK, Ranks
from sentune.evaluation.base import SentenceEvaluator, names_for
from sentune.search.semantic import nearest
from sentune.search.top import Best
from sentune.tables import check_dicts
from sentune.types import ArrayLike, Encoder
from sentune.vectors.similarity import Similarity, SimilarityFunction, to_tensor

logger = logging.getLogger(__name__)


class InformationRetrievalEvaluator(SentenceEvaluator):
    """Accuracy, precision, recall, MRR, nDCG and MAP of searching a corpus: `cosine_ndcg@10`.

    Queries without relevant documents are left out. Documents of equal score are ordered by id.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        queries: Query id -> query.
        corpus: Document id -> document.
        relevant_docs: Query id -> ids of the documents that answer it.
        corpus_chunk_size: Documents encoded and compared at a time; bounds the memory.
        mrr_at_k, accuracy_at_k, precision_recall_at_k, map_at_k: How many ranks each metric counts.
        ndcg_at_k: The same; the largest names the primary metric.
        write_csv: Whether to write `Information-Retrieval_evaluation_{name}_results.csv`.
        score_functions: Name -> scores of all pairs; by default the model's own similarity.
        main_score_function: The similarity of the primary metric; by default the best one.
        query_prompt, corpus_prompt: Text to put before each query, or each document.
        query_prompt_name, corpus_prompt_name: Name of the model's prompt to put there.
        write_predictions: Whether to write what was found, one query a line, as
            `Information-Retrieval_evaluation_{name}_predictions_{score function}.jsonl`.
    """

    works_on_tensors = True
    mrr_at_k, ndcg_at_k, accuracy_at_k = Ranks(), Ranks(), Ranks()
    precision_recall_at_k, map_at_k = Ranks(), Ranks()

    def __init__(
        self,
        queries: Mapping[Any, Any],
        corpus: Mapping[Any, Any],
        relevant_docs: Mapping[Any, Collection[Any]],
        corpus_chunk_size: int = 50000,
        mrr_at_k: Sequence[int] = (10,),
        ndcg_at_k: Sequence[int] = (10,),
        accuracy_at_k: Sequence[int] = (1, 3, 5, 10),
        precision_recall_at_k: Sequence[int] = (1, 3, 5, 10),
        map_at_k: Sequence[int] = (100,),
        show_progress_bar: bool | None = False,
        batch_size: int | None = None,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
        score_functions: Mapping[str, Similarity] | None = None,
        main_score_function: str | SimilarityFunction | None = None,
        query_prompt: str | None = None,
        query_prompt_name: str | None = None,
        corpus_prompt: str | None = None,
        corpus_prompt_name: str | None = None,
        write_predictions: bool = False,
    ) -> None:
        check_sizes(corpus_chunk_size=corpus_chunk_size)
        check_dicts(queries=queries, corpus=corpus, relevant_docs=relevant_docs)
        _check_relevant(relevant_docs)
        self.queries_ids = [i for i in queries if len(relevant_docs.get(i, ()))]
        self.queries = [queries[i] for i in self.queries_ids]
        self.corpus_ids = list(corpus)
        self.corpus = list(corpus.values())
        self.relevant_docs = relevant_docs
        if not self.queries or not self.corpus:
            raise InputError(
                f"{len(self.queries)} of {len(queries)} queries have relevant documents, among "
                f"{len(self.corpus)} documents; give at least one of each, under the same ids"
            )
        self.at_k = AtK(mrr_at_k, ndcg_at_k, accuracy_at_k, precision_recall_at_k, map_at_k)
        self.corpus_chunk_size = corpus_chunk_size
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self.score_functions = score_functions
        main = main_score_function
        self.main_score_function = SimilarityFunction(main) if main else None
        self.query_prompt = query_prompt
        self.query_prompt_name = query_prompt_name
        self.corpus_prompt = corpus_prompt
        self.corpus_prompt_name = corpus_prompt_name
        self.write_predictions = write_predictions
        base = "Information-Retrieval_evaluation" + (f"_{name}" if name else "")
        self.csv_file = f"{base}_results.csv"
        self.predictions_file = f"{base}_predictions.jsonl"
        self._names: list[str] = []
        self._name_csv_columns(*self.at_k.csv_columns(sorted(score_functions or ())))
        # The corpus is searched in the order of its ids, so that ties fall in this order.
        self._order = _order(self.corpus_ids)

    def __call__(
        self,
        model: Encoder,
        output_path: str | None = None,
        epoch: int = -1,
        steps: int = -1,
        corpus_model: Encoder | None = None,
        corpus_embeddings: ArrayLike | None = None,
    ) -> dict[str, float]:
        """The metrics; the first arguments as in `SentenceEvaluator`.

        The model encodes the queries; `corpus_model`, by default the same, encodes the documents
        unless `corpus_embeddings` has them in the order of the corpus.
        """
        found = self.compute_all_metrics(model, corpus_model, corpus_embeddings, output_path)
        metrics = {
            f"{name}_{metric.removesuffix('k')}{k}": value
            for name, values in found.items()
            for metric, by_rank in values.items()
            for k, value in by_rank.items()
        }
        names = sorted(found)
        if self._names != names:  # the first call, or a model with another similarity
            self._names = names
            self.primary_metric = self.at_k.primary_metric(metrics, names, self.main_score_function)
        row = self.at_k.csv_row(metrics, names)
        return self._report(model, metrics, row, output_path, epoch, steps)

    def embed_inputs(
        self,
        model: Any,
        sentences: Any,
        encode_fn_name: str | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `SentenceEvaluator`, with a prompt or the name of one of the model's."""
        options = {"prompt_name": prompt_name, "prompt": prompt, **kwargs}
        return super().embed_inputs(model, sentences, encode_fn_name, **options)

    def compute_all_metrics(
        self,
        model: Encoder,
        corpus_model: Encoder | None = None,
        corpus_embeddings: ArrayLike | None = None,
        output_path: str | None = None,
    ) -> dict[str, dict[str, dict[int, float]]]:
        """Score function -> metric, such as `ndcg@k` -> k -> value; arguments as in the call."""
        prompts = {"prompt_name": self.query_prompt_name, "prompt": self.query_prompt}
        queries = self._embed(model, self.queries, encode_fn_name="query", **prompts)
        chunks = self._corpus(corpus_model or model, corpus_embeddings)
        best = nearest(queries, chunks, self._score_functions(model), self.at_k.depth)
        if self.write_predictions and output_path is not None:
            self._write_predictions(best, Path(output_path))
        judges_rows = type(self).compute_metrics is InformationRetrievalEvaluator.compute_metrics
        found = {
            name: self.at_k.grouped(*self._judge(one))
            if judges_rows
            else self.compute_metrics(self._results(one))  # of a subclass
            for name, one in best.items()
        }
        for name in sorted(found):
            self.output_scores(found[name])
        return found

    compute_metrices = compute_all_metrics

    def compute_metrics(self, queries_result_list: Sequence[Any]) -> dict[str, dict[int, float]]:
        """Metric -> k -> value, of dicts with `corpus_id` and `score` found for each query."""
        hits = np.zeros((len(queries_result_list), self.at_k.depth), dtype=bool)
        for row, found in enumerate(queries_result_list):
            ranked = sorted(found, key=lambda one: (-one["score"], one["corpus_id"]))
            wanted = self.relevant_docs[self.queries_ids[row]]
            is_hit = [one["corpus_id"] in wanted for one in ranked[: self.at_k.depth]]
            hits[row, : len(is_hit)] = is_hit
        relevant = [len(set(self.relevant_docs[i])) for i in self.queries_ids]
        return self.at_k.grouped(hits, np.asarray(relevant))

    @staticmethod
    def compute_dcg_at_k(relevances: Sequence[float], k: int) -> float:
        """The sum of relevance / log2(rank + 1) over the first k ranks."""
        gains = np.asarray(relevances[:k], dtype=np.float64)
        return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())

    def output_scores(self, scores: Mapping[str, Mapping[int, float]]) -> None:
        """Log what `compute_metrics` gives."""
        for metric, by_rank in scores.items():
            for k, value in by_rank.items():
                logger.debug("%s%d: %.4f", metric.removesuffix("k"), k, value)

    def get_corpus_id_ranks(self) -> Tensor:
        """The rank of each document among all, in ascending order of the ids; `(documents,)`."""
        return torch.argsort(torch.tensor(self._order))

    @property
    def score_function_names(self) -> list[str]:
        """The names of the score functions, in the order of the csv file."""
        return sorted(self.score_functions) if self.score_functions else self._names

    def _results(self, best: Best) -> list[list[dict[str, Any]]]:
        """For each query the documents found, best first, as dicts of id and score."""
        pairs = zip(best.columns.tolist(), best.scores.tolist(), strict=True)
        return [
            [
                {"corpus_id": self.corpus_ids[self._order[column]], "score": score}
                for column, score in zip(columns, scores, strict=True)
            ]
            for columns, scores in pairs
        ]

    def _score_functions(self, model: Encoder) -> dict[str, Similarity]:
        if self.score_functions:
            return dict(self.score_functions)
        return {names_for(model, [])[0]: model.similarity}

    def _corpus(self, model: Encoder, embeddings: ArrayLike | None) -> Iterator[Tensor]:
        """The embeddings of the documents, a chunk at a time, in the order of the ids."""
        prompts = {"prompt_name": self.corpus_prompt_name, "prompt": self.corpus_prompt}
        for start in range(0, len(self._order), self.corpus_chunk_size):
            rows = self._order[start : start + self.corpus_chunk_size]
            if embeddings is not None:
                yield to_tensor(embeddings)[rows]
            else:
                texts = [self.corpus[row] for row in rows]
                yield self._embed(model, texts, encode_fn_name="document", **prompts)

    def _judge(self, best: Best) -> tuple[np.ndarray, np.ndarray]:
        """Whether each document found is relevant `(q, k)`, and how many are relevant `(q,)`."""
        place = {self.corpus_ids[row]: column for column, row in enumerate(self._order)}
        wanted = [set(self.relevant_docs[i]) for i in self.queries_ids]
        width = len(self._order)
        pairs = [
            query * width + place[document]
            for query, documents in enumerate(wanted)
            for document in documents
            if document in place
        ]
        columns = best.columns.cpu().numpy() + width * np.arange(len(wanted))[:, None]
        hits = np.isin(columns, np.asarray(pairs, dtype=np.int64))
        return hits, np.asarray([len(documents) for documents in wanted])

    def _write_predictions(self, found: dict[str, Best], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, best in found.items():
            path = folder / self.predictions_file.replace(".jsonl", f"_{name}.jsonl")
            with files.opened(path, through_links=True) as file:
                rows = zip(self.queries_ids, self.queries, self._results(best), strict=True)
                for query_id, query, results in rows:
                    line = {"query_id": query_id, "query": query, "results": results}
                    file.write(f"{json.dumps(line)}\n".encode())

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        keys = ("query_prompt", "query_prompt_name", "corpus_prompt", "corpus_prompt_name")
        prompts = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        return {**super().get_config_dict(), **prompts}


def _check_relevant(relevant_docs: Mapping[Any, Collection[Any]]) -> None:
    """Refuse one id in place of several, whose letters would be taken for ids."""
    for query_id, documents in relevant_docs.items():
        if isinstance(documents, (str, bytes)) or not isinstance(documents, Collection):
            raise InputTypeError(
                f"relevant_docs[{query_id!r}] must be a set or list of document ids, got "
                f"{documents!r}; write {{{documents!r}}} for a single one"
            )


def _order(ids: list[Any]) -> list[int]:
    """Positions of the ids in ascending order; of ids that cannot be compared, as texts."""
    try:
        return sorted(range(len(ids)), key=ids.__getitem__)
    except TypeError:
        return sorted(range(len(ids)), key=lambda row: str(ids[row]))
