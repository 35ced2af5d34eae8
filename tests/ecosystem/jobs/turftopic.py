"""Topics by embeddings of texts and words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "turftopic"
NEEDS, BARE = ("turftopic",), ()
JOB = "KeyNMF on 36 texts: topics, their words, topics of new texts"
NOTE = ""
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from sentence_transformers import SentenceTransformer
    from sklearn.feature_extraction.text import CountVectorizer
    from turftopic import KeyNMF

    encoder = SentenceTransformer(model_folder(), device="cpu")
    words = CountVectorizer(stop_words="english")
    model = KeyNMF(3, encoder=encoder, vectorizer=words, random_state=0)
    topics = model.fit_transform(TEXTS)
    return {
        "vectors": model.encode_documents(TEXTS),
        "topics": np.array(topics),
        "words": np.array(model.components_),
        "order of words": np.argsort(-np.array(model.components_), axis=1)[:, :5],
        "new texts": np.array(model.transform(list(QUERIES))),
    }
