"""A run that is really killed, at a random time and in the middle of a save, ends as if it had not.

The weights are compared bit by bit, in float32 and with one thread.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers.trainer_utils import get_last_checkpoint

from tests import tiny
from tests.training.tools import assert_equal_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("killed") / "bert", dropout=0.1)


def start(model, folder, *options):
    """A run in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "tests.training.script", str(model), str(folder), *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process):
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-3000:]


def kill_after(process, folder, name, delay):
    """Wait for a checkpoint, and a bit longer, then kill the process."""
    until = time.monotonic() + 200
    while not (folder / name).exists():
        assert process.poll() is None, process.stderr.read().decode()[-3000:]
        assert time.monotonic() < until
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(model, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = start(model, whole)
    first = start(model, broken, "--kill-in-save", "3")
    first.communicate(timeout=240)
    assert first.returncode == -signal.SIGKILL
    # Ten steps are safe; the third checkpoint was being written and does not look like one.
    assert get_last_checkpoint(broken) == str(broken / "checkpoint-10")
    assert (broken / ".checkpoint-15.unfinished").exists()
    assert not (broken / "checkpoint-15").exists()

    second = start(model, broken, "--resume")
    kill_after(second, broken, "checkpoint-20", delay=random.uniform(0, 0.3))
    assert not (broken / "weights.pt").exists(), "it was killed too late"

    finish(start(model, broken, "--resume"))
    finish(unbroken)
    found = [torch.load(folder / "weights.pt") for folder in (broken, whole)]
    assert_equal_weights(*found)
    names = sorted(path.name for path in broken.iterdir())
    checkpoints = [f"checkpoint-{n}" for n in range(5, 41, 5)]
    assert names == sorted([*checkpoints, "run.json", "weights.pt"])
