"""A pipeline of Haystack: documents embedded and stored, queries embedded, found and ranked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.rerankers import scorer_folder
from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "haystack-ai"
NEEDS, BARE = ("haystack-ai", "sentence-transformers-haystack"), ()
JOB = "documents embedded into a store; a pipeline that embeds a query, retrieves and ranks"
NOTE = "with sentence-transformers-haystack, where release 3 has these parts"
COUNTED = ("encode", "predict")
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.utils import ComponentDevice
    from haystack_integrations.components.embedders.sentence_transformers import (
        SentenceTransformersDocumentEmbedder,
        SentenceTransformersTextEmbedder,
    )
    from haystack_integrations.components.rankers.sentence_transformers import (
        SentenceTransformersDiversityRanker,
        SentenceTransformersSimilarityRanker,
    )

    cpu = ComponentDevice.from_str("cpu")
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    embedder = SentenceTransformersDocumentEmbedder(
        model=model_folder(), device=cpu, prefix="passage: ", normalize_embeddings=True
    )
    embedder.warm_up()
    stored = embedder.run([Document(id=str(i), content=text) for i, text in enumerate(TEXTS)])
    store.write_documents(stored["documents"])
    pipeline = Pipeline()
    text_embedder = SentenceTransformersTextEmbedder(model=model_folder(), device=cpu)
    pipeline.add_component("embed", text_embedder)
    pipeline.add_component("find", InMemoryEmbeddingRetriever(store, top_k=5))
    ranker = SentenceTransformersSimilarityRanker(model=scorer_folder(room), device=cpu)
    pipeline.add_component("rank", ranker)
    pipeline.connect("embed.embedding", "find.query_embedding")
    pipeline.connect("find.documents", "rank.documents")
    found = [
        pipeline.run(
            {"embed": {"text": query}, "rank": {"query": query}}, include_outputs_from={"find"}
        )
        for query in QUERIES
    ]
    diverse = SentenceTransformersDiversityRanker(model=model_folder(), device=cpu)
    diverse.warm_up()
    spread = diverse.run(query="bread and stars", documents=stored["documents"])["documents"]
    result = {
        "documents": np.array([document.embedding for document in stored["documents"]]),
        "diverse": np.array([document.id for document in spread]),
    }
    for step in ("find", "rank"):
        rows = [each[step]["documents"] for each in found]
        result[f"{step} texts"] = np.array([[hit.content for hit in row] for row in rows])
        result[f"{step} scores"] = np.array([[hit.score for hit in row] for row in rows])
    return result
