"""What runs in another environment: sentence-transformers of some release, without sentune.

python peer.py load FOLDER...      # writes vectors.npy beside each model
python peer.py make FOLDER         # makes models in it, each with vectors.npy
python peer.py snippet FOLDER...   # runs the card's code for plain transformers
python peer.py score FOLDER...     # writes scores.npy beside each cross-encoder
python peer.py rerankers FOLDER    # makes cross-encoders in it, each with scores.npy and again.npy
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

TEXTS = ["the cat sat on the mat", "a small dog", "", "Birds fly over the RIVER " * 20]


def texts_for(folder: Path) -> list[str]:
    """Texts for a model; one of words cannot take those without a word that it knows."""
    return TEXTS[:2] if folder.name.startswith("words") else TEXTS


def load(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    vectors = [model.encode(texts_for(folder), prompt_name=name) for name in _prompts(model)]
    np.save(folder / "vectors.npy", np.stack(vectors))


def make(root: Path) -> None:
    from sentence_transformers import SentenceTransformer, models

    from tests import tiny

    torch.manual_seed(0)
    for kind in ("bert", "roberta"):
        raw = tiny.make_folder(root / f"raw-{kind}", kind)
        encoder = models.Transformer(str(raw), max_seq_length=20)
        parts = {
            "plain": [models.Pooling(32)],
            "normalized": [models.Pooling(32), models.Normalize()],
            "dense": [
                models.Pooling(32, pooling_mode="cls"),
                models.Dense(32, 8, activation_function=torch.nn.Tanh()),
                models.LayerNorm(8),
            ],
            "lasttoken": [models.Pooling(32, pooling_mode="lasttoken")],
        }
        for name, modules in parts.items():
            options = {"prompts": {"query": "query: "}} if name == "plain" else {}
            if "similarity_fn_name" in inspect.signature(SentenceTransformer).parameters:
                options["similarity_fn_name"] = "dot"
            model = SentenceTransformer(modules=[encoder, *modules], device="cpu", **options)
            folder = root / f"{kind}-{name}"
            model.save(str(folder))
            vectors = [model.encode(TEXTS, prompt_name=name) for name in _prompts(model)]
            np.save(folder / "vectors.npy", np.stack(vectors))


def snippet(folder: Path) -> None:
    """Run the code in a card, on the sentences in it."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    code = next(block for block in blocks if "AutoModel" in block)
    names: dict = {}
    exec(code.replace("path/to/this/model", folder.as_posix()), names)
    np.save(folder / "snippet.npy", names["embeddings"].numpy())


def score(folder: Path) -> None:
    from sentence_transformers import CrossEncoder

    from tests.interop.pairs import PAIRS

    np.save(folder / "scores.npy", CrossEncoder(str(folder), device="cpu").predict(PAIRS))


def rerankers(root: Path) -> None:
    """Cross-encoders, what they give, and what they give after this release has loaded them."""
    from sentence_transformers import CrossEncoder

    from tests.interop import pairs

    known = inspect.signature(CrossEncoder.__init__).parameters
    name = "activation_fn" if "activation_fn" in known else "default_activation_function"
    for case in pairs.cases():
        raw = pairs.make_folder(root / f"raw-{case.family}-{case.labels}", case.family, case.labels)
        activation = pairs.ACTIVATIONS[case.activation]()
        model = CrossEncoder(str(raw), device="cpu", **{name: activation})
        _keep(model, root / case.name)
        if _has_copied_config(model):
            model.model.config = model.config
            _keep(model, root / f"{case.name}-kept")


def _keep(model, folder: Path) -> None:
    from tests.interop.pairs import PAIRS

    model.save(str(folder))
    np.save(folder / "scores.npy", model.predict(PAIRS))
    np.save(folder / "again.npy", type(model)(str(folder), device="cpu").predict(PAIRS))


def _has_copied_config(model) -> bool:
    """Whether what is saved is not the config that this release writes the activation into.

    So it is for sentence-transformers 3 with transformers 4.36 and later, which copy the config.
    Before, the two were one, and the models of that time were saved so.
    """
    encoder = getattr(model, "model", None)
    return hasattr(encoder, "config") and encoder.config is not model.config


def _prompts(model) -> list[str | None]:
    return [None, *sorted(name for name, text in model.prompts.items() if text)]


if __name__ == "__main__":
    steps = (load, make, snippet, score, rerankers)
    step = {step.__name__: step for step in steps}[sys.argv[1]]
    for argument in sys.argv[2:]:
        step(Path(argument))
