"""Kills `encode_corpus` at random times, starts it again, and compares with an unbroken run.

    python -m tests.bulk.kills --kills 200

Each run is a fork of this process, which has the model and the libraries loaded, and ends by
SIGKILL at a time drawn uniformly from the time that an unbroken run takes. When a run gets to its
end, its output must be that of the unbroken one, byte by byte, hidden files included.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a fork of its threads would wait

import pyarrow.parquet  # noqa: F401

from sentune import bulk
from sentune.bulk import encode, job
from tests.bulk.small import content, static, write_corpus

SHARDS, ROWS = 40, 10


@dataclass
class Found:
    """What came of the kills.

    Attributes:
        kills: How many hit a run that was alive.
        outputs: How many outputs were completed, and were equal to the unbroken one.
        again: Shards that were begun more than once.
        most_again: Shards begun again after one kill, at most.
        early: Kills before there was a manifest.
        drafts: Kills that left an unfinished file behind.
    """

    kills: int = 0
    outputs: int = 0
    again: int = 0
    most_again: int = 0
    early: int = 0
    drafts: int = 0


def kill_often(folder: Path, kills: int, seed: int = 0, form: str = "parquet") -> Found:
    """Kill that often; an AssertionError if an output is not what it should be."""
    rng = random.Random(seed)
    source = folder / "corpus.jsonl"
    rows = write_corpus(source, rows=SHARDS * ROWS)
    source.write_text(source.read_text().replace('"text": ""', '"text": null'))  # some fail
    model = static()
    lasts = min(time_of(source, model, folder / f"whole-{n}", form) for n in range(3))
    expected = content(folder / "whole-0")
    assert len(expected) > SHARDS and len(rows) == SHARDS * ROWS
    found = Found()
    while found.kills < kills:
        out = folder / f"out-{found.outputs}"
        log = folder / "log"
        log.unlink(missing_ok=True)
        before: Counter[str] = Counter()
        while run(source, model, out, form, log, rng.uniform(0, lasts)):
            found.kills += 1
            found.early += not (out / job.MANIFEST).exists()
            found.drafts += any(path.name.startswith(".") for path in out.glob("*"))
            now = Counter(log.read_text().split()) if log.exists() else Counter()
            found.most_again = max(found.most_again, repeats(now) - repeats(before))
            before = now
        now = Counter(log.read_text().split())
        found.most_again = max(found.most_again, repeats(now) - repeats(before))
        found.again += repeats(now)
        assert content(out) == expected, "the output differs"
        found.outputs += 1
        shutil.rmtree(out)
    return found


def time_of(source: Path, model: object, out: Path, form: str) -> float:
    """The seconds of an unbroken run."""
    begun = time.perf_counter()
    assert run(source, model, out, form, out.with_suffix(".log"), None) == 0
    return time.perf_counter() - begun


def repeats(begun: Counter[str]) -> int:
    """How many shards were begun again."""
    return sum(begun.values()) - len(begun)


def run(source: Path, model: object, out: Path, form: str, log: Path, seconds: float | None) -> int:
    """One run in a fork, killed after some seconds; what it ended with, 0 for its end."""
    child = os.fork()
    if not child:
        code = 1
        try:
            note_beginnings(log)
            bulk.encode_corpus(source, model, out, shard_rows=ROWS, format=form)
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                assert status == 0, f"a run failed with {status}"
                return 0
            time.sleep(0.0002)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"a run failed with {status}"
    return status


def note_beginnings(log: Path) -> None:
    """Have this process write the number of each shard that it begins."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    inner = encode._portions

    def portions(corpus, number):
        os.write(handle, f"{number}\n".encode())
        return inner(corpus, number)

    encode._portions = portions


def import_all() -> None:
    """Import what a run would, which takes longer than its work: kills are to hit the work."""
    with suppress(ImportError):
        import pandas  # noqa: F401 - as pyarrow does for its first array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", default="parquet")
    args = parser.parse_args()
    begun = time.perf_counter()
    import_all()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_often(Path(folder), args.kills, args.seed, args.format)
    seconds = time.perf_counter() - begun
    sys.stdout.write(f"{found} in {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
