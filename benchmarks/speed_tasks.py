"""The rows of the speed table: texts, what is done with them, and the goal."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

# Who runs, and how: the settings that are handed to a worker.
OWN, PEER = "sentune", "sentence-transformers"


@dataclass(frozen=True)
class Contestant:
    """A library with settings.

    Args:
        library: `OWN` or `PEER`.
        dtype: None for the library's default; "float32" or "bfloat16".
        batch_size: Of encoding; None for the library's default.
    """

    library: str
    dtype: str | None = None
    batch_size: int | None = None


OWN_DEFAULT = Contestant(OWN)
OWN_EXACT = Contestant(OWN, "float32")
PEER_DEFAULT = Contestant(PEER)
PEER_HALF = Contestant(PEER, "bfloat16")
# The peer at its best for encoding: see `best_batch_size` in speed_worker.py.
PEER_HALF_BEST = Contestant(PEER, "bfloat16", 0)

DEFAULTS = ("defaults", OWN_DEFAULT, PEER_DEFAULT)
EXACT = ("both float32", OWN_EXACT, PEER_DEFAULT)
HALF = ("both bfloat16", OWN_DEFAULT, PEER_HALF)


@dataclass(frozen=True)
class Row:
    """A line of the table, with one comparison or several.

    Args:
        name: For people, with places for the options.
        kind: "train" or "encode".
        texts: Name of a function below.
        pairings: What is compared with what: (label, own, peer), and the least ratio wanted.
        options: For the worker: `loss`, `batch_size`, `warm_up`, `steps`, `max_seq_length`, ...
        large: Options that differ for the large model.
    """

    name: str
    kind: str
    texts: str
    pairings: tuple[tuple[tuple[str, Contestant, Contestant], float], ...]
    options: dict[str, Any] = field(default_factory=dict)
    large: dict[str, Any] = field(default_factory=dict)

    def options_for(self, size: str) -> dict[str, Any]:
        """The options with the model of a size."""
        others = self.large if size == "large" else {}
        return {"warm_up": 1, "steps": 1, "max_seq_length": 128, **self.options, **others}

    def title(self, size: str) -> str:
        """The name with the model of a size."""
        return self.name.format(**self.options_for(size))

    def contestants(self) -> list[Contestant]:
        """Everybody who runs, once."""
        return list(dict.fromkeys(c for (_, *both), _ in self.pairings for c in both))


ROWS = (
    Row(
        "train, MultipleNegativesRanking, pairs, batch {batch_size:,}",
        "train",
        "pairs",
        ((DEFAULTS, 5.0), (EXACT, 3.0), (HALF, 2.5)),
        {"loss": "MultipleNegativesRankingLoss", "batch_size": 64, "steps": 3},
        {"steps": 1},
    ),
    Row(
        "train, CosineSimilarity, scored pairs, batch {batch_size:,}",
        "train",
        "scored",
        ((DEFAULTS, 3.0), (EXACT, 2.0)),
        {"loss": "CosineSimilarityLoss", "batch_size": 16, "steps": 30},
        {"steps": 4},
    ),
    Row(
        "train, triplets of uneven columns, up to 256 tokens, batch {batch_size:,}",
        "train",
        "triplets",
        ((DEFAULTS, 3.0), (EXACT, 2.0)),
        {"loss": "TripletLoss", "batch_size": 16, "steps": 2, "max_seq_length": 256},
        {"steps": 1},
    ),
    Row(
        "train, cached loss, batch {batch_size:,}",
        "train",
        "pairs",
        ((DEFAULTS, 4.0),),
        {"loss": "CachedMultipleNegativesRankingLoss", "batch_size": 1024, "warm_up": 0},
        {"batch_size": 64},
    ),
    Row(
        "encode {count:,} short sentences",
        "encode",
        "sentences",
        (
            (DEFAULTS, 2.5),
            (("both float32", OWN_EXACT, PEER_DEFAULT), 1.4),
            (("both bfloat16, the peer's best batch size", OWN_DEFAULT, PEER_HALF_BEST), 1.0),
        ),
        {"count": 10_000},
        {"count": 500},
    ),
    Row(
        "encode {count:,} documents of 20 to 500 tokens",
        "encode",
        "documents",
        (
            (DEFAULTS, 2.5),
            (("both float32", OWN_EXACT, PEER_DEFAULT), 1.3),
            (("both bfloat16, the peer's best batch size", OWN_DEFAULT, PEER_HALF_BEST), 1.0),
        ),
        {"count": 2_000, "max_seq_length": 512},
        {"count": 64, "max_seq_length": 512},
    ),
)


@dataclass(frozen=True)
class SearchLine:
    """A line of the table of search and mining.

    Args:
        group: Function of `speed_search.py`.
        name: For people.
        own: Which of the group's figures.
        to_product: The most seconds wanted, as a part of the plain product in float32.
        to_peer: How many times faster than the peer is wanted.
    """

    group: str
    name: str
    own: str
    to_product: float | None = None
    to_peer: float | None = None


_SEARCH = "1,000 queries, 100,000 vectors, top 10"
_PAIRS = "most similar pairs of 10,000 vectors"
_MANY = "most similar pairs of 100,000 vectors"
_MINING = "paraphrase mining of 10,000 vectors"
_SENTENCES = "10,000 sentences to their most similar pairs"
SEARCH_LINES = (
    SearchLine("search", _SEARCH, "own", 0.5, 1.0),
    SearchLine("search", _SEARCH, "own float32", 1.3, 1.0),
    SearchLine("pairs", _PAIRS, "own", 0.5, 8.0),
    SearchLine("pairs", _PAIRS, "own float32", 1.5, 8.0),
    SearchLine("pairs", _MINING, "own mining", None, 4.0),
    SearchLine("pairs", _MINING, "own mining float32", None, 4.0),
    SearchLine("many", _MANY, "own", 0.5),
    SearchLine("many", _MANY, "own float32", 1.4),
    SearchLine("sentences", _SENTENCES, "own", None, 4.0),
    SearchLine("sentences", _SENTENCES, "own float32", None, 1.7),
)


# Bounded memory, sentune alone: a batch as it is and in mini-batches, and one that is very large.
MEMORY = {
    "plain": {"batch_size": 512, "steps": 2},
    "in mini-batches": {
        "batch_size": 512,
        "steps": 2,
        "loss_settings": {"mini_batch_size": 128},
    },
    "large": {
        "batch_size": 8192,
        "warm_up": 0,
        "steps": 1,
        "loss_settings": {"mini_batch_size": 16},
    },
}
MEMORY_JOB = {
    "kind": "train",
    "texts": "pairs",
    "loss": "MultipleNegativesRankingLoss",
    "dtype": None,
    "warm_up": 1,
    "max_seq_length": 64,
}


# Texts: the documentation of the running Python, and the files of --data where they are there ----


def pairs(data: Path) -> dict[str, list[Any]]:
    """Queries and documents of the standard library's docstrings."""
    entries = _entries()
    return {"query": [e.query for e in entries], "document": [e.document for e in entries]}


def scored(data: Path) -> dict[str, list[Any]]:
    """Scored pairs: the STS benchmark, else docstrings with made-up scores."""
    path = data / "stsb-train.csv"
    if path.exists():
        rows = _shuffled(_csv(path))
        return {
            "sentence1": [row["sentence1"] for row in rows],
            "sentence2": [row["sentence2"] for row in rows],
            "score": [float(row["score"]) for row in rows],
        }
    found = pairs(data)
    return {**found, "score": [number % 11 / 10 for number in range(len(found["query"]))]}


def triplets(data: Path) -> dict[str, list[Any]]:
    """A short query, a long document, and another one."""
    entries = _shuffled(e for e in _entries() if len(e.document) > 200)
    documents = [e.document for e in entries]
    return {
        "query": [e.query for e in entries],
        "positive": documents,
        "negative": documents[1:] + documents[:1],
    }


def sentences(data: Path) -> list[str]:
    """Short sentences, no two alike."""
    path = data / "stsb-train.csv"
    if path.exists():
        found = [row[name] for row in _csv(path) for name in ("sentence1", "sentence2")]
    else:
        found = [e.query for e in _entries()]
    return _shuffled(dict.fromkeys(found))


def documents(data: Path) -> list[str]:
    """Documents of about 20 to 500 tokens, no two alike, with the spread that docstrings have."""
    entries = _entries()
    long = [f"{e.query} {e.document}" for e in entries]
    joined = [f"{a} {b}" for a, b in zip(long[::2], long[1::2], strict=False)]
    return _shuffled(text for text in dict.fromkeys(long + joined) if 80 <= len(text) <= 2_200)


def take(texts: list[str], count: int) -> list[str]:
    """So many of the texts; where there are fewer, more are made of them."""
    if count <= len(texts):
        return texts[:count]
    more = (f"{text} {number}" for number, text in enumerate(cycle(texts)))
    return texts + list(islice(more, count - len(texts)))


TEXTS: dict[str, Callable[[Path], Any]] = {
    "pairs": pairs,
    "scored": scored,
    "triplets": triplets,
    "sentences": sentences,
    "documents": documents,
}


def _entries() -> list[Any]:
    from sentune.demo import pydocs

    return _shuffled(pydocs.distinct(pydocs.entries()))


def _shuffled(items: Any) -> list[Any]:
    """The items in an order that looks like chance and is always the same."""
    import hashlib

    return sorted(items, key=lambda item: hashlib.blake2b(repr(item).encode()).digest())


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
