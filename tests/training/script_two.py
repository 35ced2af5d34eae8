"""A training run for one or two processes, started by torchrun.

    torchrun -m tests.training.script_two MODEL FOLDER BATCH_SIZE

It trains, evaluates, resumes from the middle, and writes what came out to FOLDER/result.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.training.samplers import DefaultBatchSampler
from tests.processes import leave
from tests.training.tools import ANCHORS, LossWithHead, trainer, weights

ROWS = {
    "anchor": [f"{text} {word}" for word in ("red", "green", "slow", "quick") for text in ANCHORS],
    "positive": [text for _ in range(4) for text in ANCHORS],
    "score": [(place * 7 % 40) / 40 for place in range(40)],
}


class InOrder(DefaultBatchSampler):
    def _order(self, n):
        return list(range(n))


def main() -> None:
    folder, batch_size = Path(sys.argv[2]), int(sys.argv[3])
    calls = []

    def evaluator(model, output_path=None, epoch=-1, steps=-1):
        calls.append(steps)
        return 2.0

    def run_of():
        torch.manual_seed(5)
        model = SentenceTransformer(sys.argv[1], device="cpu")
        return trainer(
            model,
            folder,
            Dataset.from_dict(ROWS),
            LossWithHead(model),
            evaluator=evaluator,
            num_train_epochs=2,
            per_device_train_batch_size=batch_size,
            batch_sampler=InOrder,
            optim="sgd",
            learning_rate=0.1,
            save_strategy="steps",
            save_steps=5,
        )

    run = run_of()
    run.train()
    metrics = run.evaluate()
    own = _all_weights(run)
    resumed = run_of()
    resumed.train(str(folder / "checkpoint-5"))
    counts = gather_object([len(calls)])
    flat = gather_object([torch.cat([t.flatten().float() for t in own.values()])])
    if run.is_world_process_zero():
        again = _all_weights(resumed)
        result = {
            "steps": run.state.global_step,
            "metrics": metrics,
            "calls": counts,
            "weights": own,
            "difference": float((flat[0] - flat[-1]).abs().max()),
            "resumed_difference": max(float((again[n] - t).abs().max()) for n, t in own.items()),
        }
        torch.save(result, folder / "result.pt")
    leave()


def _all_weights(run):
    own = {name: tensor.detach().clone() for name, tensor in run.step.own_weights().items()}
    return {**weights(run.model), **own}


if __name__ == "__main__":
    main()
