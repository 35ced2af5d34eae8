"""Topics of texts: their embeddings, and topics by deterministic clusters of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "bertopic"
NEEDS, BARE = ("bertopic",), ()
JOB = "topics of 36 texts with key words by embeddings; new texts, saved, loaded"
NOTE = "PCA and agglomerative clustering in place of UMAP and HDBSCAN, which draw random numbers"
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from bertopic import BERTopic
    from bertopic.representation import KeyBERTInspired
    from sentence_transformers import SentenceTransformer
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.text import CountVectorizer

    model = BERTopic(
        embedding_model=SentenceTransformer(model_folder(), device="cpu"),
        umap_model=PCA(5, svd_solver="full"),
        hdbscan_model=AgglomerativeClustering(3),
        vectorizer_model=CountVectorizer(stop_words="english"),
        representation_model=KeyBERTInspired(random_state=0),
        min_topic_size=2,
    )
    topics, _ = model.fit_transform(TEXTS)
    named, _ = BERTopic(  # by the name of a model, and clusters from outside
        embedding_model=model_folder(),
        umap_model=PCA(5, svd_solver="full"),
        hdbscan_model=AgglomerativeClustering(3),
    ).fit_transform(TEXTS)
    words = [pair for topic in sorted(model.get_topics()) for pair in model.get_topic(topic)]
    model.save(room / "model", serialization="safetensors", save_embedding_model=model_folder())
    again = BERTopic.load(str(room / "model"), embedding_model=model_folder())
    later, scores = again.transform(list(QUERIES))
    return {
        "vectors": model.embedding_model.embed(TEXTS),
        "topics": np.array(topics),
        "topics by name": np.array(named),
        "words": np.array([word for word, _ in words]),
        "scores of words": np.array([score for _, score in words]),
        "topic vectors": model.topic_embeddings_,
        "topics of new texts": np.array(later),
        "scores of new texts": np.array(scores),
    }
