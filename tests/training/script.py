"""A training run in a process of its own, for tests that kill it or start it twice.

    python -m tests.training.script MODEL FOLDER [--resume] [--kill-in-save N] [--steps N]
        [--press N]

It trains for some steps, with a checkpoint after every fifth, and writes the weights of the model
and of the loss to FOLDER/weights.pt.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.machine.distributed import is_distributed
from tests.processes import leave
from tests.training.tools import LossWithHead, scored, trainer, weights

torch.set_num_threads(1)  # so that sums are added in the same order everywhere


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-in-save", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--press", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(5)
    model = SentenceTransformer(given.model, device="cpu")
    run = trainer(
        model,
        given.folder,
        scored(),
        LossWithHead(model),
        max_steps=given.steps,
        per_device_train_batch_size=3,
        save_strategy="steps",
        save_steps=5,
        warmup_steps=3,
    )
    run.add_callback(Slowly)
    if given.kill_in_save:
        _die_in_save(given.kill_in_save)
    if given.press:
        run.add_callback(PressCtrlC(given.press))
    try:
        run.train(resume_from_checkpoint=given.resume)
    except KeyboardInterrupt as stop:
        print(stop, flush=True)  # noqa: T201
        return
    if run.is_world_process_zero():
        own = {**weights(run.model), **run.step.own_weights()}
        torch.save(
            {name: tensor.detach() for name, tensor in own.items()}, given.folder / "weights.pt"
        )


class Slowly(TrainerCallback):
    """Leaves time to kill the run."""

    def on_step_end(self, *args, **kwargs) -> None:
        time.sleep(0.02)


class PressCtrlC(TrainerCallback):
    """Tells the first process alone, and twice, as a terminal and torchrun would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step and args.process_index == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def _die_in_save(number: int) -> None:
    """Kill this process in the middle of writing the optimizer of a checkpoint."""
    whole, seen = torch.save, []

    def save(value, path, *args, **kwargs):
        if str(path).endswith("optimizer.pt"):
            seen.append(path)
            if len(seen) == number:
                Path(path).write_bytes(b"half of it")
                os.kill(os.getpid(), signal.SIGKILL)
        return whole(value, path, *args, **kwargs)

    torch.save = save


if __name__ == "__main__":
    main()
    if is_distributed():
        leave()
