"""Retrieval over a corpus, evaluated by BEIR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.rerankers import scorer_folder
from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "beir"
NEEDS, BARE = ("beir",), ()
JOB = "exact dense retrieval over 36 texts with prompts, reranked; nDCG, MAP, recall, precision"
NOTE = ""
COUNTED = ("encode", "predict")
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from beir.reranking import Rerank
    from beir.reranking.models import CrossEncoder
    from beir.retrieval.evaluation import EvaluateRetrieval
    from beir.retrieval.models import SentenceBERT
    from beir.retrieval.search.dense import DenseRetrievalExactSearch

    corpus = {f"d{row}": {"title": "", "text": text} for row, text in enumerate(TEXTS)}
    queries = {f"q{row}": query for row, query in enumerate(QUERIES)}
    right = {f"q{row}": {f"d{index}": 1} for row, index in enumerate(QUERIES.values())}
    prompts = {"query": "query: ", "passage": "passage: "}
    encoder = SentenceBERT(model_folder(), max_length=64, prompts=prompts, device="cpu")
    search = DenseRetrievalExactSearch(encoder, batch_size=16, corpus_chunk_size=20)
    judge = EvaluateRetrieval(search, score_function="cos_sim", k_values=[1, 3, 10])
    results = judge.retrieve(corpus, queries)
    ranker = Rerank(CrossEncoder(scorer_folder(room), device="cpu"), batch_size=16)
    reranked = ranker.rerank(corpus, queries, results, top_k=5)
    found = {}
    for name, result in {"retrieved": results, "reranked": reranked}.items():
        rows = [sorted(result[query].items()) for query in queries]
        found[f"{name} texts"] = np.array([key for row in rows for key, _ in row])
        found[f"{name} scores"] = np.array([score for row in rows for _, score in row])
        figures = judge.evaluate(right, result, [1, 3, 10])
        found[f"{name} figures"] = np.array([v for part in figures for v in part.values()])
    return found
