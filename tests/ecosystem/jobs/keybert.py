"""Key words of texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import COOKING, model_folder

LIBRARY = "keybert"
NEEDS, BARE = ("keybert",), ()
JOB = "key phrases of 12 texts, and diverse ones by maximal marginal relevance"
NOTE = ""
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from keybert import KeyBERT

    # By the name of a model, as most people call it, and by a model of their own.
    from sentence_transformers import SentenceTransformer

    named = KeyBERT(model=model_folder())
    given = KeyBERT(model=SentenceTransformer(model_folder(), device="cpu"))
    options = {"keyphrase_ngram_range": (1, 2), "stop_words": "english"}
    plain = named.extract_keywords(COOKING, top_n=5, **options)
    diverse = given.extract_keywords(COOKING, use_mmr=True, diversity=0.6, top_n=3, **options)
    documents, words = given.extract_embeddings(COOKING, **options)
    found = {"documents": documents, "words": words}
    for name, rows in {"plain": plain, "diverse": diverse}.items():
        flat = [pair for row in rows for pair in row]
        found[f"{name} words"] = np.array([word for word, _ in flat])
        found[f"{name} scores"] = np.array([score for _, score in flat])
    return found
