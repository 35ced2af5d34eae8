"""The rows of the quality table: which data, which loss, and how the embeddings are measured.

A task reads its file, takes a fixed part of it to train on and another to measure on, and measures
any function of texts to unit vectors. So both libraries are measured by the same code.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sentune.demo import pydocs
from sentune.evaluation.metrics import average_precision, spearman

Encode = Callable[[Sequence[str]], Tensor]  # n texts -> (n, d), of length 1
Row = dict[str, str]
PARAPHRASE = 0.8  # STS pairs from this score on count as positives
RANKS = 10


@dataclass(frozen=True)
class Data:
    """Columns to train on, and what gives the figure of a model."""

    train: dict[str, list]
    measure: Callable[[Encode], float]


@dataclass(frozen=True)
class Task:
    """A row of the table."""

    data: str
    loss: str
    figure: str
    files: tuple[str, ...]
    load: Callable[[Path, int], Data]
    batch_size: int = 16
    sampler: str = "batch_sampler"
    loss_settings: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.data}, {self.loss}"


# Loading: of each file a part to train on, of about `texts` texts, and another to measure on ------


def load_scored(folder: Path, texts: int) -> Data:
    rows = mixed(read(folder / "stsb-train.csv"))[: texts // 2]
    held_out = mixed(read(folder / "stsb-dev.csv"))[: texts // 2]
    first, second = columns(held_out, "sentence1", "sentence2")
    scores = numbers(held_out, "score", float)

    def measure(encode: Encode) -> float:
        return spearman(cosines(encode, first, second), scores)

    return Data(train_columns(rows, "sentence1", "sentence2", score=float), measure)


def load_entailment(folder: Path, texts: int) -> Data:
    rows = mixed(read(folder / "sick-nli-train.csv"))[: texts // 2]
    held_out = [row for row in mixed(read(folder / "sick-nli-dev.csv")) if row["label"] != "1"]
    held_out = held_out[: texts // 2]
    first, second = columns(held_out, "premise", "hypothesis")
    is_entailed = [int(row["label"] == "2") for row in held_out]

    def measure(encode: Encode) -> float:
        return average_precision(cosines(encode, first, second), is_entailed)

    return Data(train_columns(rows, "premise", "hypothesis", label=int), measure)


def load_paraphrases(folder: Path, texts: int) -> Data:
    rows, held_out = halves(read(folder / "msrp-train.csv"), texts // 2, texts // 2)
    first, second = columns(held_out, "sentence1", "sentence2")
    labels = numbers(held_out, "label", int)

    def measure(encode: Encode) -> float:
        return average_precision(cosines(encode, first, second), labels)

    return Data(train_columns(rows, "sentence1", "sentence2", label=int), measure)


def load_classes(file: str) -> Callable[[Path, int], Data]:
    def load(folder: Path, texts: int) -> Data:
        rows, held_out = halves(distinct(read(folder / file), "text"), texts, texts // 2)
        known, asked = (numbers(part, "label", int) for part in (rows, held_out))
        (known_texts,), (asked_texts,) = (columns(part, "text") for part in (rows, held_out))

        def measure(encode: Encode) -> float:
            nearest = (encode(asked_texts) @ encode(known_texts).T).argmax(dim=1).tolist()
            return sum(known[k] == own for k, own in zip(nearest, asked, strict=True)) / len(asked)

        return Data(train_columns(rows, "text", label=int), measure)

    return load


def load_triplets(folder: Path, texts: int) -> Data:
    names = ("anchor", "positive", "negative")
    rows = read(folder / "sick-triplets-train.csv")
    # An anchor stands in several triplets: all of them are to train on, or all to measure on.
    anchors = mixed(distinct(rows, "anchor"))
    to_measure = {row["anchor"] for row in anchors[: len(anchors) // 2]}
    held_out = [row for row in rows if row["anchor"] in to_measure][: texts // 3]
    rows = mixed([row for row in rows if row["anchor"] not in to_measure])[: texts // 3]
    anchor, positive, negative = columns(held_out, *names)

    def measure(encode: Encode) -> float:
        near, far = cosines(encode, anchor, positive), cosines(encode, anchor, negative)
        return float((near > far).mean())

    return Data(train_columns(rows, *names), measure)


def load_positives(folder: Path, texts: int) -> Data:
    rows = [row for row in mixed(read(folder / "stsb-train.csv")) if is_positive(row)]
    rows = rows[: texts // 2]
    others = mixed(read(folder / "stsb-dev.csv"))
    held_out = [row for row in others if is_positive(row)][: texts // 3]
    queries, answers = columns(held_out, "sentence1", "sentence2")
    second = [row["sentence2"] for row in others]
    corpus = list(dict.fromkeys(answers + second))[: texts * 3 // 2]
    place = {text: number for number, text in enumerate(corpus)}
    own_place = torch.tensor([place[text] for text in answers])

    def measure(encode: Encode) -> float:
        scores = encode(queries) @ encode(corpus).T  # (queries, corpus)
        for query, text in enumerate(queries):  # a sentence does not find itself
            if text in place:
                scores[query, place[text]] = -1
        return reciprocal_rank(scores, own_place)

    return Data(train_columns(rows, "sentence1", "sentence2"), measure)


def load_docs(folder: Path, texts: int) -> Data:
    """The documentation of this Python, whole: the size of a training that is meant seriously."""
    entries = pydocs.distinct(pydocs.entries())
    rows, held_out = pydocs.split(entries)
    documents = [entry.document for entry in entries]
    own_place = torch.tensor([entries.index(entry) for entry in held_out])

    def measure(encode: Encode) -> float:
        scores = encode([entry.query for entry in held_out]) @ encode(documents).T
        return reciprocal_rank(scores, own_place)

    train = {"query": [x.query for x in rows], "document": [x.document for x in rows]}
    return Data(train, measure)


def reciprocal_rank(scores: Tensor, own_place: Tensor) -> float:
    """MRR@10 of `scores (queries, corpus)` where each query has one right answer."""
    own = scores.gather(1, own_place[:, None])
    rank = (scores > own).sum(dim=1) + 1
    return float(torch.where(rank <= RANKS, 1 / rank, 0.0).mean())


def is_positive(row: Row) -> bool:
    return float(row["score"]) >= PARAPHRASE and row["sentence1"] != row["sentence2"]


# Rows ---------------------------------------------------------------------------------------------


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mixed(rows: Sequence[Row]) -> list[Row]:
    """The rows in an order that is the same in every run."""
    return random.Random(0).sample(list(rows), len(rows))


def distinct(rows: Sequence[Row], column: str) -> list[Row]:
    return list({row[column]: row for row in rows}.values())


def halves(rows: Sequence[Row], train: int, held_out: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to measure on; of a small file at most half each."""
    order = mixed(rows)
    held_out = min(held_out, len(order) // 2)
    return order[held_out:][:train], order[:held_out]


def columns(rows: Sequence[Row], *names: str) -> list[list[str]]:
    return [[row[name] for row in rows] for name in names]


def numbers(rows: Sequence[Row], name: str, kind: type) -> list:
    return [kind(row[name]) for row in rows]


def train_columns(rows: Sequence[Row], *names: str, **labels: type) -> dict[str, list]:
    texts = dict(zip(names, columns(rows, *names), strict=True))
    return {**texts, **{name: numbers(rows, name, kind) for name, kind in labels.items()}}


def cosines(encode: Encode, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    return (encode(first) * encode(second)).sum(dim=1).numpy()


# The table ----------------------------------------------------------------------------------------

_STS = ("STS benchmark", "Spearman", ("stsb-train.csv", "stsb-dev.csv"))
_TRIPLETS_IN_BATCH = (
    "BatchAllTripletLoss",
    "BatchHardTripletLoss",
    "BatchHardSoftMarginTripletLoss",
    "BatchSemiHardTripletLoss",
)
_CLASSES = {"TREC": "trec-train.csv", "banking77": "banking77-train.csv"}


def tasks() -> list[Task]:
    """The rows of the table, in its order."""
    data, figure, files = _STS
    found = [
        Task(data, loss, figure, files, load_scored)
        for loss in ("CosineSimilarityLoss", "CoSENTLoss")
    ]
    files_of_sick = ("sick-nli-train.csv", "sick-nli-dev.csv")
    found.append(
        Task(
            "SICK classes",
            "SoftmaxLoss",
            "AP",
            files_of_sick,
            load_entailment,
            loss_settings={"num_labels": 3},
        )
    )
    found += [
        Task("MSRP", loss, "AP", ("msrp-train.csv",), load_paraphrases)
        for loss in ("ContrastiveLoss", "OnlineContrastiveLoss")
    ]
    found += [
        Task(data, loss, "accuracy", (file,), load_classes(file), 16, "group_by_label")
        for data, file in _CLASSES.items()
        for loss in _TRIPLETS_IN_BATCH
    ]
    triplets = "sick-triplets-train.csv"
    found.append(
        Task("SICK triplets", "TripletLoss", "triplet accuracy", (triplets,), load_triplets)
    )
    found += [
        Task("STS pairs", loss, f"MRR@{RANKS}", files, load_positives, 16, "no_duplicates")
        for loss in ("MultipleNegativesRankingLoss", "MegaBatchMarginLoss")
    ]
    loss = "MultipleNegativesRankingLoss"
    found.append(Task("Python docs", loss, f"MRR@{RANKS}", (), load_docs, 64, "no_duplicates"))
    return found
