"""A small corpus and a small static model, which encodes thousands of texts in a second."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import torch

from sentune import SentenceTransformer, models
from sentune.errors import OutputError
from tests import tiny
from tests.tiny import WORDS


def static(seed: int = 0, width: int = 8) -> SentenceTransformer:
    torch.manual_seed(seed)
    words = tiny.tokenizer()
    table = torch.randn(len(words), width)
    module = models.StaticEmbedding(words, embedding_weights=table)
    return SentenceTransformer(modules=[module], device="cpu")


def write_corpus(path: Path, rows: int = 100, seed: int = 0) -> list[dict]:
    rng = random.Random(seed)
    found = [
        {"id": f"d{n}", "text": " ".join(rng.choices(WORDS, k=rng.randint(0, 20))), "year": n}
        for n in range(rows)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return found


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


class Slow(models.StaticEmbedding):
    """Takes a quarter of a second for each batch, and notes the process that does it."""

    def tokenize(self, texts, **options):
        with open(os.environ["SENTUNE_TEST_PIDS"], "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.25)
        if os.environ.get("SENTUNE_TEST_DEADLY", "no such text") in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        busy = Path(os.environ["SENTUNE_TEST_PIDS"]).with_name("busy")
        if os.environ.get("SENTUNE_TEST_BUSY", "no such text") in texts and not busy.exists():
            busy.touch()
            raise OutputError("s3://bucket cannot be reached")
        return super().tokenize(texts, **options)


def slow() -> SentenceTransformer:
    module = static()[0]
    module.__class__ = Slow
    return SentenceTransformer(modules=[module], device="cpu")
