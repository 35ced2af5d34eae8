"""Folders of models, made by sentune or by sentence-transformers 6.2 with the same code.

    python -m tests.ecosystem.makers sentune ROOT

ROOT gets a folder for each model, and in it `wanted.npy`, what the model gives for `TEXTS`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.ecosystem import texts

LONG = "Birds fly over the RIVER, and fish sleep under the green tree. " * 40
TEXTS = [*texts.TEXTS[::4], "", "the cat sat on the mat", LONG]
PAIRS = [("the cat sat on the mat", "a small dog"), ("query", LONG), ("", "the dog eats bread")]
WANTED = "wanted.npy"
# Encoders besides all-MiniLM-L6-v2, as small ones with random weights.
ENCODERS = ("roberta", "xlm-roberta", "mpnet", "distilbert", "modernbert")
# What a program without pooling of its own has to do with the tokens of a model.
LENGTH_1, ANY_LENGTH, SCORE = "mean, length 1", "mean", "score"
PLAIN = {
    "minilm": LENGTH_1,
    "minilm-lora-merged": LENGTH_1,
    **dict.fromkeys(ENCODERS, ANY_LENGTH),
    "reranker": SCORE,
}


def encoders(library: Any, room: Path) -> Iterator[tuple[str, Any]]:
    """Models that give embeddings, by the name of their folder."""
    import torch

    from tests import tiny

    models = importlib.import_module(f"{library.__name__}.models")
    minilm = texts.model_folder()

    def built(start: str | Path, *modules: Any, **options: Any) -> Any:
        parts = [models.Transformer(str(start)), *modules]
        return library.SentenceTransformer(modules=parts, device="cpu", **options)

    yield "minilm", library.SentenceTransformer(minilm, device="cpu")
    yield "minilm-lora-merged", merged(library.SentenceTransformer(minilm, device="cpu"))
    torch.manual_seed(0)
    dense = built(minilm, models.Pooling(384), models.Dense(384, 32))
    yield from (("minilm-dense", dense), ("minilm-dense-pickle", dense))
    yield "minilm-cls", built(minilm, models.Pooling(384, "cls"), models.Normalize())
    prompts = {"query": "query: ", "document": "passage: "}
    options = {"prompts": prompts, "default_prompt_name": "document"}
    yield "minilm-prompts", built(minilm, models.Pooling(384), **options)
    for kind in ENCODERS:
        yield kind, built(tiny.make_folder(room / kind, kind), models.Pooling(32))
    table = np.random.default_rng(0).normal(size=(len(tiny.tokenizer()), 16)).astype("float32")
    static = models.StaticEmbedding(tiny.tokenizer(), embedding_weights=table)
    yield "static", library.SentenceTransformer(modules=[static], device="cpu")


def scorers(library: Any, room: Path) -> Iterator[tuple[str, Any]]:
    """Cross-encoders, by the name of their folder."""
    from tests.interop import pairs

    for name, labels in {"reranker": 1, "reranker-3-labels": 3}.items():
        folder = pairs.make_folder(room / name, "bert", labels)
        yield name, library.CrossEncoder(str(folder), device="cpu")


def merged(model: Any) -> Any:
    """The model after LoRA has changed its encoder, and was merged into it."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    model[0].auto_model = get_peft_model(model[0].auto_model, config).merge_and_unload()
    return model


def encoded(model: Any) -> np.ndarray:
    """Embeddings of the texts: with the prompt that is the default, and with each by its name."""
    names = [None, *sorted(name for name, text in model.prompts.items() if text)]
    return np.stack([model.encode(TEXTS, prompt_name=name) for name in names])


def main(library: str, root: Path) -> None:
    module, room = importlib.import_module(library), root.with_name(f"{root.name}-raw")
    for name, model in encoders(module, room):
        model.save(str(root / name), safe_serialization=not name.endswith("-pickle"))
        np.save(root / name / WANTED, encoded(model))
    for name, model in scorers(module, room):
        model.save(str(root / name))
        np.save(root / name / WANTED, model.predict(PAIRS))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
