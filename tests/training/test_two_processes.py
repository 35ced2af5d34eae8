"""Training in two processes that torchrun starts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sentune.training.training_step import LOSS_FILE
from tests import tiny
from tests.training.tools import assert_equal_weights

ROOT = Path(__file__).parents[2]


def torchrun(script, *arguments, processes=2):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode()


@pytest.mark.slow
def test_two_processes_are_one_with_batches_twice_as_large(tmp_path):
    """Weights, weights of the loss, evaluation and resuming."""
    model = tiny.make_folder(tmp_path / "bert")
    torchrun("tests.training.script_two", model, tmp_path / "two", 4)
    torchrun("tests.training.script_two", model, tmp_path / "one", 8, processes=1)
    one, two = (torch.load(tmp_path / name / "result.pt") for name in ("one", "two"))
    assert one["steps"] == two["steps"] == 10
    assert two["metrics"]["eval_evaluator"] == 2.0, "the evaluator's figure of the main process"
    assert two["calls"] == [1, 0], "evaluators run in the main process only"
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert two["difference"] == 0.0, "all processes have the same weights"
    folder = tmp_path / "two" / "checkpoint-5"
    names = {path.name for path in folder.iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth", LOSS_FILE, "modules.json"} <= names
    assert two["resumed_difference"] == 0.0, "a resumed run ends with the same weights"


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_after_the_same_step(tmp_path):
    model = tiny.make_folder(tmp_path / "bert")
    run = ("tests.training.script", model, tmp_path / "run", "--steps", 9)
    said = torchrun(*run, "--press", 6)
    place = tmp_path / "run" / "checkpoint-7"
    assert said.count(f"go on with trainer.train({str(place)!r})") == 2
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in place.iterdir()}
    assert not (tmp_path / "run" / "weights.pt").exists()
    torchrun(*run, "--resume")
    assert (tmp_path / "run" / "weights.pt").exists()


def by_mpirun(script, *arguments):
    """Two processes that know of each other as those of Open MPI do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in ("0", "1"):
        place = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
        place |= {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_LOCAL_RANK": rank}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **place}
        command = [sys.executable, "-m", script, *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment))
    assert [process.wait(280) for process in started] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("launch", [torchrun, by_mpirun])
def test_processes_on_the_cpu_train_one_model_in_any_precision(tmp_path, launch):
    """Nothing says that the CPU is meant: there is nothing else."""
    launch("tests.training.script_launched", tiny.make_folder(tmp_path / "bert"), tmp_path)
    one, two = map(torch.load, tmp_path.glob("*.pt"))
    assert list(one) == ["float32", "bf16", "fp16"]
    for precision, (size, weights) in one.items():
        assert size == 2, precision
        assert_equal_weights(weights, two[precision][1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fit", "stream"])
def test_fit_in_two_processes(tmp_path, kind):
    """Two of five batches for each process in an epoch; the rate goes down to the last step."""
    run = ("tests.training.script_launched", tiny.make_folder(tmp_path / "bert"), tmp_path)
    torchrun(*run, "--kind", kind)
    (size, weights, rates), other = (torch.load(path)["fit"] for path in tmp_path.glob("*.pt"))
    assert size == 2
    assert_equal_weights(weights, other[1])
    assert rates == other[2] == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert (tmp_path / "model" / "modules.json").exists()
