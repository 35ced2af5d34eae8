"""Embeddings and a reranker of LangChain, with a vector store in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.rerankers import scorer_folder
from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "langchain-huggingface"
NEEDS, BARE = ("langchain-huggingface", "langchain-community"), ()
JOB = "documents and queries embedded, alone, in processes and in a vector store; reranked"
NOTE = "with langchain-community, for its cross-encoder and its older embeddings"
COUNTED = ("encode", "encode_multi_process", "predict")
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from langchain_community.cross_encoders import HuggingFaceCrossEncoder
    from langchain_community.embeddings import HuggingFaceEmbeddings as Older
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_huggingface import HuggingFaceEmbeddings

    options = {"model_kwargs": {"device": "cpu"}, "encode_kwargs": {"normalize_embeddings": True}}
    model = HuggingFaceEmbeddings(model_name=model_folder(), **options)
    older = Older(model_name=model_folder(), **options)
    several = HuggingFaceEmbeddings(model_name=model_folder(), multi_process=True, **options)
    store = InMemoryVectorStore(model)
    store.add_texts(TEXTS)
    hits = [store.similarity_search_with_score(query, k=3) for query in QUERIES]
    scorer = HuggingFaceCrossEncoder(model_name=scorer_folder(room), model_kwargs={"device": "cpu"})
    return {
        "documents": np.array(model.embed_documents(TEXTS)),
        "queries": np.array([model.embed_query(query) for query in QUERIES]),
        "in processes": np.array(several.embed_documents(TEXTS)),
        "older": np.array(older.embed_documents(TEXTS)),
        "hits": np.array([[hit.page_content for hit, _ in row] for row in hits]),
        "scores of hits": np.array([[score for _, score in row] for row in hits]),
        "reranked": np.array(scorer.score([(query, TEXTS[0]) for query in QUERIES])),
    }
