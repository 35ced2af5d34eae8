"""The tasks of `workbench.py`: what is trained on, what is tested, and the peer's recipe.

The recipe is the one that sentence-transformers documents for the form of the data, with its
defaults where the example names nothing else.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sentune.data import forms
from sentune.data.columns import input_columns, label_column
from sentune.data.forms import Form
from sentune.demo import pydocs
from sentune.workbench.measuring.by_form import measure_for
from sentune.workbench.measuring.measure import Measure
from sentune.workbench.rows.split import groups_of, split

Columns = dict[str, list[Any]]
SEED = 0  # of what is held out: the same in every run
PARTS = 3  # of a small file


@dataclass(frozen=True)
class Recipe:
    """How the peer's documentation trains on a form of data."""

    loss: str
    batch_size: int
    epochs: int = 1
    learning_rate: float = 5e-5  # of transformers, where the example names none
    sampler: str = "batch_sampler"
    warm_up: float = 0.1
    loss_settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A row of the table."""

    name: str
    form: Form
    recipe: Recipe
    load: Callable[[Path, int], tuple[Columns, Columns]]  # rows to train on, and held-out ones
    files: tuple[str, ...] = ()
    parts: int = 1  # of the rows, which are held out in turn: the seed says which one

    @property
    def transfer(self) -> tuple[str, ...]:
        """The tasks of other data that show what else changed."""
        return ("banking77", "TREC") if self.name == "STS benchmark" else ("STS benchmark",)

    def hash(self, folder: Path, seed: int) -> str:
        """What tells the rows apart: figures of other rows are not compared."""
        return hashlib.sha256(json.dumps(self.load(folder, seed)).encode()).hexdigest()[:16]

    def measure(self, folder: Path, model: Any, seed: int = 0) -> Measure:
        """What is measured on the held-out rows; `model` is the one before training."""
        train, test = self.load(folder, seed)
        groups = groups_of([test[name] for name in input_columns(list(test))])
        return measure_for(test, train, self.form, groups=groups, model=model, references=10**6)


def read(path: Path) -> Columns:
    """A csv file as columns, with labels as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns: Columns = {name: [row[name] for row in rows] for name in rows[0]}
    if name := label_column(list(columns)):
        kind = float if name == "score" else int
        columns[name] = [kind(value) for value in columns[name]]
    return columns


def take(columns: Columns, rows: Any) -> Columns:
    return {name: [cells[row] for row in rows] for name, cells in columns.items()}


def held_out(file: str, share: float) -> Callable[[Path, int], tuple[Columns, Columns]]:
    """A part of the file is tested, which shares no text with the rest."""

    def load(folder: Path, _seed: int) -> tuple[Columns, Columns]:
        data = read(folder / file)
        texts = [data[name] for name in input_columns(list(data))]
        label = label_column(list(data))
        found = split(texts, data[label] if label else None, {"test": share}, SEED, has_near=False)
        return take(data, found["train"]), take(data, found["test"])

    return load


def in_turn(file: str) -> Callable[[Path, int], tuple[Columns, Columns]]:
    """Each part of a small file is tested, by another seed: one part says too little."""

    def load(folder: Path, seed: int) -> tuple[Columns, Columns]:
        data = read(folder / file)
        texts = [data[name] for name in input_columns(list(data))]
        shares = {f"part {number}": 1 / PARTS for number in range(1, PARTS)}
        found = list(split(texts, None, shares, SEED, has_near=False).parts.values())
        rest = [rows for number, rows in enumerate(found) if number != seed % PARTS]
        return take(data, np.sort(np.concatenate(rest))), take(data, found[seed % PARTS])

    return load


def two_files(train: str, test: str) -> Callable[[Path, int], tuple[Columns, Columns]]:
    """The rows of one file are trained on, without those that share a text with the other."""

    def load(folder: Path, _seed: int) -> tuple[Columns, Columns]:
        first, second = read(folder / train), read(folder / test)
        names = input_columns(list(first))
        groups = groups_of([first[name] + second[name] for name in names], has_near=False)
        count = len(first[names[0]])
        kept = np.flatnonzero(~np.isin(groups[:count], groups[count:]))
        # One group of many rows that hang together: only texts that are tested themselves count.
        if len(kept) < 0.8 * count:
            tested = {text for name in names for text in second[name]}
            rows = zip(*(first[name] for name in names), strict=True)
            kept = np.array([n for n, texts in enumerate(rows) if not tested.intersection(texts)])
        return take(first, kept), second

    return load


def docs(_folder: Path, _seed: int) -> tuple[Columns, Columns]:
    """The documentation of this Python."""
    train, test = pydocs.split(pydocs.distinct(pydocs.entries()))
    return tuple(
        {"query": [one.query for one in part], "document": [one.document for one in part]}
        for part in (train, test)
    )


CLASSES = Recipe("BatchAllTripletLoss", 32, learning_rate=2e-5, sampler="group_by_label")
EIGHT = (
    Task(
        "STS benchmark",
        forms.PAIR_AND_SCORE,
        Recipe("CosineSimilarityLoss", 16, epochs=4),
        two_files("stsb-train.csv", "stsb-dev.csv"),
        ("stsb-train.csv", "stsb-dev.csv"),
    ),
    Task(
        "SICK classes",
        forms.PAIR_AND_CLASS,
        Recipe("SoftmaxLoss", 16, loss_settings={"num_labels": 3}),
        two_files("sick-nli-train.csv", "sick-nli-dev.csv"),
        ("sick-nli-train.csv", "sick-nli-dev.csv"),
    ),
    Task(
        "MSRP",
        forms.PAIR_AND_MATCH,
        Recipe("OnlineContrastiveLoss", 64),
        held_out("msrp-train.csv", 0.25),
        ("msrp-train.csv",),
    ),
    Task(
        "TREC questions and answers",
        forms.PAIR,
        Recipe("MultipleNegativesRankingLoss", 64, sampler="no_duplicates"),
        held_out("trec-qa-pairs-train.csv", 0.4),
        ("trec-qa-pairs-train.csv",),
    ),
    Task(
        "SICK triplets",
        forms.TRIPLET,
        Recipe("TripletLoss", 16),
        held_out("sick-triplets-train.csv", 0.4),
        ("sick-triplets-train.csv",),
    ),
    Task(
        "TREC", forms.TEXT_AND_CLASS, CLASSES, held_out("trec-train.csv", 0.2), ("trec-train.csv",)
    ),
    Task(
        "banking77",
        forms.TEXT_AND_CLASS,
        CLASSES,
        held_out("banking77-train.csv", 0.2),
        ("banking77-train.csv",),
    ),
    Task(
        "Python docs",
        forms.PAIR,
        Recipe("MultipleNegativesRankingLoss", 64, sampler="no_duplicates"),
        docs,
    ),
)

# The small files again, with all of their rows held out in turn.
IN_TURN = tuple(
    replace(task, name=f"{task.name}, in turn", load=in_turn(task.files[0]), parts=PARTS)
    for task in EIGHT
    if task.form in (forms.PAIR, forms.TRIPLET) and task.files
)
TASKS = (*EIGHT, *IN_TURN)
