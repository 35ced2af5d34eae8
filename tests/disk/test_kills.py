"""Killed at any step of a save, a folder or a file holds the old content or the new, whole."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAYS = ["exchange", "inside", "elsewhere", "checkpoint", "first", "file", "append"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and exchanges folders")


@pytest.fixture
def home(tmp_path):
    """A folder in memory where there is one: what is tested is the order of steps, not the disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def killed(home, way, *when):
    """How many processes were killed, and after how many other programs would see a mixture."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.disk.kills", str(home), way, *when],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kills, mixtures = map(int, done.stdout.split())
    return kills, mixtures


@pytest.mark.parametrize("when", ["each", "chain"])
@pytest.mark.parametrize("way", WAYS)
def test_a_kill_at_any_step_leaves_the_old_or_the_new(home, way, when):
    kills, mixtures = killed(home, way, when)
    assert kills > (10 if way in ("file", "append") else 50)
    assert mixtures == 0 or way in ("inside", "elsewhere")


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_at_any_time_leaves_the_old_or_the_new(home, way):
    kills, mixtures = killed(home, way, "random", "60")
    assert kills == 60
    assert mixtures == 0 or way in ("inside", "elsewhere")


def test_on_a_real_disk_too(tmp_path):
    assert killed(tmp_path, "exchange", "random", "40") == (40, 0)
