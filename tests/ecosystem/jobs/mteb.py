"""Tasks of MTEB, with data made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.ecosystem.rerankers import scorer_folder
from tests.ecosystem.texts import LABELS, QUERIES, TEXTS, model_folder

LIBRARY = "mteb"
NEEDS, BARE = ("mteb",), ()
JOB = "retrieval (with query and document prompts), similarity of pairs, classification, clustering"
NOTE = "tasks of its own classes with local data, since its data sets are on the Hub"
COUNTED = ("encode", "encode_query", "encode_document", "predict")
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    import mteb
    from mteb.models import ModelMeta
    from sentence_transformers import CrossEncoder, SentenceTransformer

    prompts = {"query": "query: ", "document": "passage: "}
    model = SentenceTransformer(model_folder(), device="cpu", prompts=prompts)
    meta = ModelMeta.from_sentence_transformer_model(model)
    options = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    found = {}
    for task in tasks():
        result = mteb.evaluate(model, task, prediction_folder=room, **options)
        found[task.metadata.name] = figures(result)
    scorer = CrossEncoder(scorer_folder(room), device="cpu")
    reranking = next(iter(tasks())).convert_to_reranking(room, top_k=5)
    found["reranked"] = figures(mteb.evaluate(scorer, reranking, **options))
    sizes = [meta.embed_dim, meta.max_tokens, meta.n_parameters, meta.n_embedding_parameters]
    found["about the model"] = np.array([str(size) for size in sizes])
    found["similarity"] = np.array([str(meta.similarity_fn_name), *meta.framework])
    return found


def figures(result: Any) -> np.ndarray:
    """All numbers of a result, by their names."""
    (row,) = next(iter(result.task_results)).scores["test"]
    numbers = {key: value for key, value in row.items() if isinstance(value, (int, float))}
    found = np.array([numbers[key] for key in sorted(numbers)], float)
    return np.where(np.isnan(found), -9.0, found)  # some are not defined for so few texts


def tasks() -> list:
    """A task of each kind, over the texts."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.clustering import AbsTaskClustering
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.sts import AbsTaskSTS

    def local(base: type, kind: str, score: str, data: Any, **settings: Any) -> Any:
        def load(self: Any, **_: Any) -> None:
            self.dataset, self.data_loaded = data, True

        body = {"metadata": metadata(kind, score), "load_data": load, **settings}
        return type(f"Local{kind}", (base,), body)()

    rows = {"text": TEXTS, "label": LABELS}
    labelled = Dataset.from_dict(rows)
    pairs = {
        "sentence1": TEXTS,
        "sentence2": TEXTS[5:] + TEXTS[:5],
        "score": [5.0 * (row % 12 < 7) for row in range(len(TEXTS))],
    }
    right = {f"q{row}": {f"d{index}": 1} for row, index in enumerate(QUERIES.values())}
    corpus = {"id": [f"d{row}" for row in range(len(TEXTS))], "text": TEXTS}
    queries = {"id": list(right), "text": list(QUERIES)}
    retrieval = {
        "corpus": Dataset.from_dict({**corpus, "title": [""] * len(TEXTS)}),
        "queries": Dataset.from_dict(queries),
        "relevant_docs": right,
        "top_ranked": None,
    }
    both = DatasetDict(
        train=labelled.select(range(0, 36, 2)), test=labelled.select(range(1, 36, 2))
    )
    few = {"n_experiments": 2, "samples_per_label": 4}
    groups = DatasetDict(test=Dataset.from_dict({"sentences": TEXTS, "labels": LABELS}))
    return [
        local(AbsTaskRetrieval, "Retrieval", "ndcg_at_10", {"default": {"test": retrieval}}),
        local(AbsTaskSTS, "STS", "cosine_spearman", DatasetDict(test=Dataset.from_dict(pairs))),
        local(AbsTaskClassification, "Classification", "accuracy", both, **few),
        local(AbsTaskClustering, "Clustering", "v_measure", groups),
    ]


def metadata(kind: str, score: str) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        name=f"Local{kind}",
        dataset={"path": "local/texts", "revision": "1"},
        description="Texts on three subjects.",
        reference=None,
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=score,
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )
