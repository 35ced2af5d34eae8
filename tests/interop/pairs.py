"""The cross-encoders that are exchanged; made alike in all environments, by transformers alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests import tiny

PAIRS = [
    ("the cat sat on the mat", "a small dog"),
    ("query", "Birds fly over the RIVER " * 20),  # longer than the limit
    ("", "the dog eats bread"),
    ("search for a fish", "read the file and sort the list"),
]
FAMILIES = ("bert", "roberta", "distilbert")
ACTIVATIONS = {"identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Case:
    """One cross-encoder."""

    family: str
    labels: int
    activation: str

    @property
    def name(self) -> str:
        return f"{self.family}-{self.labels}-{self.activation}"


def cases() -> Iterator[Case]:
    for family in FAMILIES:
        for labels in (1, 3):
            for activation in ACTIVATIONS:
                yield Case(family, labels, activation)


def make_folder(folder: Path, family: str, labels: int) -> Path:
    """A checkpoint of a classifier of pairs with random weights, as transformers saves it."""
    words = tiny.tokenizer(family)
    config = AutoConfig.for_model(
        family,
        vocab_size=len(words),
        num_labels=labels,
        pad_token_id=words.pad_token_id,
        **tiny.KINDS[family],
    )
    torch.manual_seed(labels)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():  # larger than by default, so that scores differ from pair to pair
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
