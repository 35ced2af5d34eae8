"""Static models: distilled, in the form of either library, and read by the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import TEXTS, model_folder

LIBRARY = "model2vec"
NEEDS, BARE = ("skeletoken>=0.6,<0.7",), ("model2vec",)
JOB = "distilled by StaticEmbedding.from_distillation; saved, read by model2vec, saved, read again"
NOTE = "`--no-deps`: its extra `distill` asks for transformers below 5.4"
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding

    module = StaticEmbedding.from_distillation(model_folder(), device="cpu", pca_dims=64)
    model = SentenceTransformer(modules=[module], device="cpu")
    model.save(str(room / "model"))
    there = StaticModel.from_pretrained(room / "model")
    there.save_pretrained(room / "static")
    found = StaticEmbedding.from_model2vec(str(room / "static"))
    read = SentenceTransformer(modules=[found], device="cpu")
    by_name = SentenceTransformer(str(room / "static"), device="cpu")
    return {
        "distilled": model.encode(TEXTS),
        "read by model2vec": there.encode(TEXTS),
        "from model2vec": read.encode(TEXTS),
        "folder of model2vec": by_name.encode(TEXTS),
    }
