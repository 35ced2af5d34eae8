"""Runs that are really stopped, by Ctrl-C or SIGKILL, in processes of their own, and gone on with.

The weights are compared bit by bit, in float32 and with one thread.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentune import SentenceTransformer
from sentune.cli import INTERRUPTED
from tests import tiny
from tests.training.tools import assert_equal_weights, weights
from tests.workbench import topics

ROOT = Path(__file__).parents[2]
OPTIONS = [
    *("--learning-rate", "0.003", "--agreement", "0", "--dtype", "float32"),
    *("--epochs", "4", "--batch-size", "8", "--folds", "1"),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a model, data, and a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    tiny.make_folder(folder / "bert", dropout=0.1)
    topics.write(topics.classes(500), folder / "topics.csv")
    process = start(folder, "whole")
    process.communicate(timeout=240)
    assert process.returncode == 0
    return folder


def start(folder, output, *options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    environment["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    given = [] if "--resume" in options else ["topics.csv", "--model", "bert", *OPTIONS]
    return subprocess.Popen(
        [sys.executable, "-m", "sentune.cli", "train", *given, "--output", output, *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_at(process, path, number, delay=0.0):
    """Send a signal when a file is there, and a bit later."""
    until = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < until
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(number)
    return process.communicate(timeout=240)


def state(folder, output):
    path = folder / output / "run" / "state.json"
    return json.loads(path.read_text()) if path.exists() else None


def finish(folder, output):
    process = start(folder, output, "--resume")
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    return out


def assert_as_the_whole(folder, output):
    one, other = (SentenceTransformer(str(folder / name)) for name in (output, "whole"))
    assert_equal_weights(weights(one), weights(other))
    assert not (folder / output / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["run/state.json", "run/full-1", "run/full-1/model"])
def test_a_killed_run_goes_on_as_if_nothing_had_been(work, place):
    output = f"killed-{place.replace('/', '-')}"
    process = start(work, output)
    stop_at(process, work / output / place, signal.SIGKILL, delay=0.3)
    assert process.returncode == -signal.SIGKILL
    assert not (work / output / "model.safetensors").exists()
    assert state(work, output) is not None
    finish(work, output)
    assert_as_the_whole(work, output)


@pytest.mark.slow
def test_a_killed_run_with_folds_goes_on_as_if_nothing_had_been(work):
    for output in ("folds", "folds-killed"):
        process = start(work, output, "--folds", "3")
        if output == "folds":
            process.communicate(timeout=240)
            assert process.returncode == 0
        else:
            stop_at(process, work / output / "run" / "full-0-1" / "model", signal.SIGKILL)
    assert {"full-0-0"} <= state(work, "folds-killed")["notes"].keys()
    finish(work, "folds-killed")
    one, other = (SentenceTransformer(str(work / name)) for name in ("folds", "folds-killed"))
    assert_equal_weights(weights(one), weights(other))


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_saves_leaves_no_half(work):
    """The old model is there, whole, until the new one is."""
    output = "twice"
    process = start(work, output)
    process.communicate(timeout=240)
    before = weights(SentenceTransformer(str(work / output)))
    process = start(work, output, "--seed", "3")
    stop_at(process, work / output / "run" / "full-1" / "model", signal.SIGKILL, delay=0.2)
    assert_equal_weights(weights(SentenceTransformer(str(work / output))), before)
    process = start(work, output, "--seed", "3")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "unfinished run" in errors and "--resume" in errors


@pytest.mark.slow
def test_ctrl_c_leaves_the_best_so_far_and_a_run_that_goes_on(work):
    output = "interrupted"
    process = start(work, output)
    _, errors = stop_at(process, work / output / "run" / "full-1", signal.SIGINT, delay=0.5)
    assert process.returncode == INTERRUPTED, errors[-3000:]
    assert "--resume" in errors
    record = json.loads((work / output / "run.json").read_text())
    assert record["decision"]["is_stopped"]
    assert "test" not in record["result"]
    assert record["resume"] == f"sentune train --output {output} --resume"
    assert "Stopped by Ctrl-C" in (work / output / "report.html").read_text(encoding="utf-8")
    SentenceTransformer(str(work / output)).encode("a text")
    assert (work / output / "report.html").exists()
    out = finish(work, output)
    assert "Kept:" in out
    assert_as_the_whole(work, output)
    assert not json.loads((work / output / "run.json").read_text())["decision"]["is_stopped"]


@pytest.mark.slow
def test_ctrl_c_in_the_only_training_keeps_what_was_learnt_by_then(work):
    output = "alone"
    options = ["--loss", "SupervisedContrastiveLoss", "--epochs", "60"]
    process = start(work, output, *options)
    stop_at(process, work / output / "run" / "full-0", signal.SIGINT, delay=5.0)
    assert process.returncode == INTERRUPTED
    record = json.loads((work / output / "run.json").read_text())
    assert record["decision"]["kept"] == "trained"
    assert record["settings"]["stop_step"] < record["settings"]["steps"]
    process = subprocess.run(
        [sys.executable, "-m", "sentune.cli", "train", "--config", f"{output}/run.yaml"]
        + ["--output", "repeated"],
        cwd=work,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    one, other = (SentenceTransformer(str(work / name)) for name in (output, "repeated"))
    assert_equal_weights(weights(one), weights(other))
