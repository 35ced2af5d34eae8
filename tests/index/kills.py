"""Kills processes that write to an index at random times, and looks at what is left.

    python -m tests.index.kills --kills 100

Each writer is a fork of a process that has imported all and used nothing of it. It adds documents,
replaces or deletes them, or builds anew, and is killed by SIGKILL at a time drawn uniformly from
the time that such a write takes. The index must then be the old one, or the new one as a whole, to
the last row; and the next write must work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sentune import Index
from sentune.index.place import is_index
from sentune.index.store import Store

OLD, NEW = 300, 200  # documents
BATCH = 20  # rows of a commit of the writer
JOBS = ("add", "replace", "delete", "overwrite", "build")

WRITERS = """
import os, sys, warnings
import lancedb, lancedb.index, lancedb.query, pyarrow.compute, pandas
from sentune import Index
from sentune.index import rows, store
from tests.index import kills

warnings.simplefilter("ignore")  # of the fork
rows.given.__defaults__ = (str, kills.BATCH)
for line in sys.stdin:
    job, where = line.split()
    child = os.fork()
    if not child:
        index = None if job == "build" else Index.open(where)
        print(os.getpid(), flush=True)
        kills.write(job, where, index)
        os._exit(0)
    print("killed" if os.waitpid(child, 0)[1] else "done", flush=True)
"""


@dataclass
class Found:
    """What came of the kills.

    Attributes:
        kills: How many hit a process that was writing.
        old: Jobs after whose kill the old index was there.
        new: ... or the new one, since the kill came after it was published.
        unpublished: Kills that left versions behind which nobody sees.
    """

    kills: int = 0
    old: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    unpublished: int = 0


def documents(prefix, count, word):
    return [{"id": f"{prefix}{n}", "text": f"{word} number {n} it's", "n": n} for n in range(count)]


def vectors(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)


def fill(where):
    return Index.build(
        where, documents("o", OLD, "old"), embeddings=vectors(OLD, 0), exact_below=100
    )


def write(job, where, index):
    made = vectors(NEW, 1)
    if job == "add":
        index.add(documents("n", NEW, "new"), embeddings=made)
    elif job == "replace":
        index.replace(documents("o", NEW, "new"), embeddings=made)
    elif job == "delete":
        index.delete([f"o{n}" for n in range(NEW)])
    else:
        options = {"overwrite": job == "overwrite", "exact_below": 100}
        Index.build(where, documents("n", NEW, "new"), embeddings=made, **options)


def content(where):
    """All that readers see: documents, rows of both rankings."""
    if not is_index(Path(where)):
        return None
    index = Index.open(where)
    rows = index._store._table.search().select(["id", "text", "n"]).to_arrow().to_pylist()
    found = {
        word: sorted(hit.id for hit in index.search(word, 1_000, mode="text"))
        for word in ("old", "new")
    }
    near = index.search(embedding=vectors(1, 7)[0], mode="vector", top_k=1_000, probes=100)
    assert len(near) == len(rows) == len(index)
    assert sorted(hit.id for hit in near) == sorted(found["old"] + found["new"])
    return json.dumps([sorted(rows, key=lambda row: row["id"]), found])


class Writers:
    """Writers, one after the other."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITERS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, job, where):
        """The process that does a job, which it is about to begin."""
        self.process.stdin.write(f"{job} {where}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        """How it ended: "done" or "killed"."""
        return self.process.stdout.readline().strip()


def kill_often(folder, kills, seed=0, jobs=JOBS):
    """Kill that often; an AssertionError if an index is not what it should be."""
    rng = random.Random(seed)
    found = Found()
    fill(folder / "old")
    writers = Writers()
    whole = {job: unbroken(writers, folder, job) for job in jobs}
    turn = 0
    while found.kills < kills:
        job, where = jobs[turn % len(jobs)], folder / f"index-{turn}"
        turn += 1
        before = prepared(folder, where, job)
        process = writers.begin(job, where)
        time.sleep(rng.uniform(0, whole[job][1]))
        with suppress(ProcessLookupError):  # it has ended
            os.kill(process, signal.SIGKILL)
        if writers.end() == "killed":
            found.kills += 1
            check(where, job, before, whole[job][0], found)
        shutil.rmtree(where, ignore_errors=True)
    writers.process.communicate()
    return found


def prepared(folder, where, job):
    """The old index, where a job needs one; and what is in it."""
    if job != "build":
        shutil.copytree(folder / "old", where)
    return content(where)


def unbroken(writers, folder, job):
    """What a job makes of an index, and how long it takes."""
    where = folder / f"whole-{job}"
    prepared(folder, where, job)
    writers.begin(job, where)
    begun = time.perf_counter()
    assert writers.end() == "done"
    return content(where), time.perf_counter() - begun


def check(where, job, before, expected, found):
    """The old index or the new one is there, and the next write does what was not done."""
    after = content(where)
    assert after in (before, expected), f"{job} was done in part"
    (found.old if after == before else found.new)[job] += 1
    if after is not None:
        store = Store(where)
        found.unpublished += store._db.open_table("texts").version != store._version
    if after == before:
        write(job, where, None if job == "build" else Index.open(where))
    assert content(where) == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{kill_often(Path(folder), args.kills, args.seed)}\n")


if __name__ == "__main__":
    main()
