"""An index of txtai, with its sentence-transformers vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import QUERIES, TEXTS, model_folder

LIBRARY = "txtai"
NEEDS, BARE = ("txtai",), ()
JOB = "an index with method sentence-transformers: built, searched, saved, loaded"
NOTE = ""
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from txtai import Embeddings

    options = {"method": "sentence-transformers", "path": model_folder(), "gpu": False}
    index = Embeddings(**options, content=True)
    index.index(TEXTS)
    hits = [index.search(query, 3) for query in QUERIES]
    index.save(str(room / "index"))
    again = Embeddings()
    again.load(str(room / "index"))
    later = [again.search(query, 3) for query in QUERIES]
    return {
        "vectors": index.batchtransform(TEXTS),
        "texts": np.array([[hit["text"] for hit in row] for row in hits]),
        "scores": np.array([[hit["score"] for hit in row] for row in hits]),
        "scores after loading": np.array([[hit["score"] for hit in row] for row in later]),
    }
