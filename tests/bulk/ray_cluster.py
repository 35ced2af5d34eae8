"""A Ray cluster of this machine for a module of tests: two nodes of one CPU each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLY = "the text that no worker survives"
BUSY = "the text at which storage is busy once"


@contextmanager
def cluster(folder: Path, **environment: str) -> Iterator[Nodes]:
    """Two nodes, and a head that computes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        own = {
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "SENTUNE_TEST_PIDS": str(folder / "pids"),
            "SENTUNE_TEST_DEADLY": DEADLY,
            "SENTUNE_TEST_BUSY": BUSY,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path),
        }
        for name, value in {**own, **environment}.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        (folder / "pids").touch()
        inner = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
        try:
            nodes = Nodes(inner, folder)
            nodes.add()
            nodes.add()
            yield nodes
        finally:
            inner.shutdown()


class Nodes:
    """The nodes of a cluster, and what is done to them."""

    def __init__(self, inner, folder: Path) -> None:
        self._inner, self._pids = inner, folder / "pids"
        self.nodes = []
        self.address = inner.address

    def add(self) -> None:
        self.nodes.append(self._inner.add_node(num_cpus=1, num_gpus=0))

    def lose(self) -> None:
        """Kill a node with all that runs on it."""
        self._inner.remove_node(self.nodes.pop(), allow_graceful=False)

    def kill_a_worker(self) -> None:
        """Kill the worker that begins the next batch."""
        before = len(self._pids.read_text().split())
        while len(pids := self._pids.read_text().split()) == before:
            time.sleep(0.005)
        os.kill(int(pids[-1]), signal.SIGKILL)

    def driver(self, source: object, output: object, rows: int) -> subprocess.Popen[str]:
        """Start `tests.bulk.ray_driver`."""
        command = [sys.executable, "-m", "tests.bulk.ray_driver", self.address]
        command += [str(source), str(output), str(rows)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(is_true, process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait for something that a process should do."""
    end = time.monotonic() + seconds
    while not is_true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.05)
