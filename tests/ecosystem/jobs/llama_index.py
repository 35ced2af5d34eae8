"""Embeddings of LlamaIndex, and an index over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "llama-index-embeddings-huggingface"
NEEDS, BARE = ("llama-index-embeddings-huggingface",), ()
JOB = "documents and queries embedded with prompts, alone and in two processes; an index searched"
NOTE = ""
COUNTED = ("encode", "encode_multi_process")
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    model = HuggingFaceEmbedding(
        model_name=model_folder(),
        device="cpu",
        query_instruction="query: ",
        text_instruction="passage: ",
    )
    several = HuggingFaceEmbedding(
        model_name=model_folder(), device="cpu", parallel_process=True, target_devices=["cpu"] * 2
    )
    documents = [Document(text=text, id_=str(row)) for row, text in enumerate(TEXTS)]
    index = VectorStoreIndex.from_documents(documents, embed_model=model)
    finder = index.as_retriever(similarity_top_k=3)
    hits = [finder.retrieve(query) for query in QUERIES]
    return {
        "documents": np.array(model.get_text_embedding_batch(TEXTS)),
        "queries": np.array([model.get_query_embedding(query) for query in QUERIES]),
        "in processes": np.array(several.get_text_embedding_batch(TEXTS)),
        "hits": np.array([[hit.text for hit in row] for row in hits]),
        "scores of hits": np.array([[hit.score for hit in row] for row in hits]),
    }
