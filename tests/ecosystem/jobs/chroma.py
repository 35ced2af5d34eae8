"""A collection of Chroma with its own embedding function."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import LABELS, QUERIES, TEXTS, model_folder

LIBRARY = "chromadb"
NEEDS, BARE = ("chromadb",), ()
JOB = "a collection on disk with its SentenceTransformerEmbeddingFunction: added, reopened, queried"
NOTE = ""
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    import chromadb
    from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction

    function = SentenceTransformerEmbeddingFunction(model_name=model_folder(), device="cpu")
    client = chromadb.PersistentClient(path=str(room / "chroma"))
    made = client.create_collection("texts", embedding_function=function)
    ids = [str(row) for row in range(len(TEXTS))]
    made.add(ids=ids, documents=TEXTS, metadatas=[{"label": label} for label in LABELS])
    again = client.get_collection("texts")  # with the function that it has kept
    found = again.query(query_texts=list(QUERIES), n_results=3)
    kept = again.get(ids=ids, include=["embeddings"])
    return {
        "vectors": np.array(kept["embeddings"]),
        "texts": np.array(found["documents"]),
        "distances": np.array(found["distances"]),
    }
