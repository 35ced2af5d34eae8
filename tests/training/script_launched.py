"""Short training runs in one of several processes, however they were started.

    python -m tests.training.script_launched MODEL FOLDER [--kind trainer|fit|stream]

Each process writes what came out to FOLDER/PID.pt; nothing asks for the CPU.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.losses import MultipleNegativesRankingLoss
from sentune.machine.distributed import is_distributed, world_size
from tests.processes import leave
from tests.training.tools import PAIRS, trainer, weights

PRECISIONS = {"float32": {"bf16": False}, "bf16": {"bf16": True}, "fp16": {"fp16": True}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", default="trainer")
    given = parser.parse_args()
    torch.manual_seed(5)
    found = {}
    if given.kind == "trainer":
        for name, options in PRECISIONS.items():
            model = SentenceTransformer(given.model, device="cpu")
            run = trainer(model, given.folder, use_cpu=False, max_steps=2, **options)
            run.train()
            found[name] = run.args.world_size, weights(model)
    else:
        model = SentenceTransformer(given.model, device="cpu")
        rates = _fit(model, given.folder, is_stream=given.kind == "stream")
        found["fit"] = world_size(), weights(model), rates
    torch.save(found, given.folder / f"{os.getpid()}.pt")


def _fit(model: SentenceTransformer, folder: Path, *, is_stream: bool) -> list[float]:
    """The learning rate of each step."""
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self, *args: Any) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args)

    examples = [InputExample(texts=list(pair)) for pair in zip(*PAIRS.values(), strict=True)]
    loader = DataLoader(examples, batch_size=2, shuffle=True)
    if is_stream:
        loader = [examples[start : start + 2] for start in range(0, 10, 2)]
    model.fit(
        [(loader, MultipleNegativesRankingLoss(model))],
        warmup_steps=0,
        epochs=2,
        optimizer_class=Watched,
        optimizer_params={"lr": 1e-3},
        output_path=str(folder / "model"),
        evaluator=lambda model, **_: 0.5,
        show_progress_bar=False,
    )
    return rates


if __name__ == "__main__":
    main()
    if is_distributed():
        leave()
