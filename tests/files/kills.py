"""Saves two models in turn into one folder, is killed in between, and loads what is there.

    python -m tests.files.kills ENCODER FOLDER KILLS

Prints the number of kills, and how many different saves were found afterwards.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.models import Dense, Pooling, Transformer

torch.set_num_threads(1)  # it forks


def model(encoder: str, number: int) -> SentenceTransformer:
    """Even and odd ones differ in weights, files and settings."""
    torch.manual_seed(number)
    modules = [Transformer(encoder), Pooling(32), *([Dense(32, 8)] if number % 2 else [])]
    made = SentenceTransformer(modules=modules, device="cpu", prompts={"number": str(number)})
    for weight in made.parameters():
        weight.data.fill_(0.01 * (1 + number % 2))
    return made


def save_forever(models: list[SentenceTransformer], folder: Path, first: int) -> None:
    for number in itertools.count(first):
        made = models[number % 2]
        made.prompts = {"number": str(number)}
        made.save_pretrained(str(folder), safe_serialization=number % 4 < 2)


def number_in(folder: Path) -> int:
    loaded = SentenceTransformer(str(folder), device="cpu")
    number = int(loaded.prompts["number"])
    assert len(loaded) == 2 + number % 2, number
    for name, weight in loaded.named_parameters():
        assert (weight == torch.tensor(0.01 * (1 + number % 2))).all(), (number, name)
    pickles = {path.name for path in folder.rglob("*.bin")}
    assert bool(pickles) == (number % 4 >= 2), (number, pickles)
    assert (folder / "notes.txt").read_text() == "mine"
    return number


def main(encoder: str, home: str, kills: str) -> None:
    folder = Path(home) / "model"
    models = [model(encoder, number) for number in range(2)]
    models[0].save_pretrained(str(folder))
    (folder / "notes.txt").write_text("mine")
    seen = [number_in(folder)]
    for _ in range(int(kills)):
        child = os.fork()
        if child == 0:
            save_forever(models, folder, seen[-1] + 1)
        time.sleep(random.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.append(number_in(folder))
        assert seen[-1] >= seen[-2], seen
    models[0].save_pretrained(str(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    print(f"{kills} kills, {len(set(seen))} saves found")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
