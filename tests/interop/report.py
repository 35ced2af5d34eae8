"""What the scripts beside this one share: running another Python, comparing, printing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5


def run(python: str | Path, script: Path, *arguments: str | Path) -> str:
    """What a script prints in another environment; its error ends this program."""
    command = [str(python), str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def gap(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference; infinity for another shape, nothing, or NaN."""
    if found.shape != wanted.shape or not found.size:
        return float("inf")
    largest = float(np.abs(found - wanted).max())
    return largest if np.isfinite(largest) else float("inf")


def check(what: str, found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two results are equal; it is printed, with the largest difference."""
    largest = gap(found, wanted)
    say(f"  {'ok  ' if largest <= TOLERANCE else 'DIFF'} {what:<58} {largest:.1e}")
    return largest <= TOLERANCE
