"""Programs that know nothing of sentune read folders of models: what each gives for the texts.

    python -m tests.ecosystem.readers fastembed ROOT OUT

OUT gets an array for each folder that is read, and `about.json`: the error for each that is not,
and the releases.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tests.ecosystem.makers import LENGTH_1, PAIRS, PLAIN, SCORE, TEXTS, WANTED, encoded

ABOUT = "about.json"
ONNX = "onnx/model.onnx"


def sentence_transformers(folder: Path) -> np.ndarray:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    if folder.name.startswith("reranker"):
        return CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    return encoded(SentenceTransformer(str(folder), device="cpu"))


def transformers(folder: Path) -> np.ndarray:
    from transformers import AutoModel, AutoModelForSequenceClassification

    if PLAIN[folder.name] == SCORE:
        return by_hand(folder, AutoModelForSequenceClassification.from_pretrained(folder).eval())
    return by_hand(folder, AutoModel.from_pretrained(folder).eval())


def optimum_onnx(folder: Path) -> np.ndarray:
    """By a model exported from the folder, which is kept in it for fastembed."""
    from optimum.onnxruntime import ORTModelForFeatureExtraction, ORTModelForSequenceClassification

    is_scorer = PLAIN[folder.name] == SCORE
    kind = ORTModelForSequenceClassification if is_scorer else ORTModelForFeatureExtraction
    model = kind.from_pretrained(folder, export=True)
    model.save_pretrained(folder / "exported")
    (folder / ONNX).parent.mkdir(exist_ok=True)
    shutil.move(folder / "exported" / "model.onnx", folder / ONNX)
    return by_hand(folder, model)


def fastembed(folder: Path) -> np.ndarray:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    name, options = f"made/{folder.name}", {"model_file": ONNX, "sources": ModelSource(hf="made")}
    if PLAIN[folder.name] == SCORE:
        TextCrossEncoder.add_custom_model(model=name, **options)
        scorer = TextCrossEncoder(name, specific_model_path=str(folder))
        return sigmoid(np.array(list(scorer.rerank_pairs(PAIRS))))
    width = np.load(folder / WANTED).shape[-1]
    is_1 = PLAIN[folder.name] == LENGTH_1
    TextEmbedding.add_custom_model(
        model=name, pooling=PoolingType.MEAN, normalization=is_1, dim=width, **options
    )
    model = TextEmbedding(name, specific_model_path=str(folder))
    return np.stack(list(model.embed(TEXTS)))[None]


def by_hand(folder: Path, model: Any) -> np.ndarray:
    """What a model of transformers gives with a few lines, as in a model card."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"padding": True, "truncation": True, "return_tensors": "pt"}
    with torch.no_grad():
        if PLAIN[folder.name] == SCORE:
            tokens = tokenizer(*map(list, zip(*PAIRS, strict=True)), **options)
            return sigmoid(model(**tokens).logits[:, 0].numpy())
        tokens = tokenizer(TEXTS, **options)
        mask = tokens["attention_mask"][..., None].float()
        vectors = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
    if PLAIN[folder.name] == LENGTH_1:
        vectors = torch.nn.functional.normalize(vectors)
    return vectors.numpy()[None]


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


PROGRAMS: dict[str, Callable[[Path], np.ndarray]] = {
    "sentence-transformers": sentence_transformers,
    "transformers": transformers,
    "optimum-onnx": optimum_onnx,
    "fastembed": fastembed,
}


def readable(program: str, root: Path) -> list[Path]:
    """The folders that a program can be asked to read; only one of them knows of modules."""
    folders = sorted(path.parent for path in root.glob(f"*/{WANTED}"))
    return [it for it in folders if program == "sentence-transformers" or it.name in PLAIN]


def releases() -> dict[str, str]:
    found = {}
    for name in (*PROGRAMS, "optimum", "onnxruntime", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(program: str, root: Path, out: Path) -> None:
    out.mkdir(parents=True)
    errors = {}
    for folder in readable(program, root):
        try:
            np.save(out / f"{folder.name}.npy", PROGRAMS[program](folder))
        except Exception as error:  # of any kind: it is what is asked here
            errors[folder.name] = f"{type(error).__name__}: {error}"
    about = {"errors": errors, "releases": releases()}
    (out / ABOUT).write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
