"""Kills processes that write to an index at random times, and looks at what is left.

    python -m tests.index.kills --kills 100

Each writer is a fork... of nothing: a new process, since LanceDB's threads do not live on in a
fork. It adds documents, replaces them or builds anew, and is killed by SIGKILL at a time drawn
uniformly from the time that such a write takes, from its first change on. The index must then be
the old one, or the new one as a whole, to the last row; and the next write must work.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sentune import Index
from sentune.index.store import Store, is_index

OLD, NEW = 300, 200  # documents
BATCH = 20  # rows of a commit of the writer
JOBS = ("add", "replace", "delete", "overwrite", "build")

WRITER = """
import sys, json
import numpy as np
from sentune import Index
from sentune.index import rows, store
from tests.index import kills

job, where = sys.argv[1], sys.argv[2]
rows.given.__defaults__ = (kills.BATCH,)
index = None if job == "build" else Index.open(where)
kills.write(job, where, index, 0)  # what is imported, is
print("ready", flush=True)
sys.stdin.readline()
kills.write(job, where, index, 1)
print("done", flush=True)
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
    return Index.build(where, documents("o", OLD, "old"), embeddings=vectors(OLD, 0), exact_below=100)


def write(job, where, index, turn):
    """One write; with turn 0 nothing that counts."""
    if turn == 0:
        return
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


def writer(job, where):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, job, str(where)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def kill_often(folder, kills, seed=0, jobs=JOBS):
    """Kill that often; an AssertionError if an index is not what it should be."""
    rng = random.Random(seed)
    found = Found()
    turn = 0
    expected, lasts = {}, {}
    for job in jobs:
        expected[job], lasts[job] = unbroken(folder / f"whole-{job}", job)
    while found.kills < kills:
        job = jobs[turn % len(jobs)]
        where = folder / f"index-{turn}"
        turn += 1
        if job != "build":
            fill(where)
        before = content(where)
        process = writer(job, where)
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(rng.uniform(0, lasts[job]))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0]
        if rest == "done\n":
            continue
        found.kills += 1
        after = content(where)
        assert after in (before, expected[job]), f"{job} was done in part"
        kind = found.old if after == before else found.new
        kind[job] += 1
        if after is not None:
            store = Store(where)
            found.unpublished += store._db.open_table("texts").version != store._version
        go_on(where, job, after == before, expected[job])
    return found


def unbroken(where, job):
    """What a job makes of an index, and how long it takes."""
    if job != "build":
        fill(where)
    process = writer(job, where)
    begun = time.perf_counter()
    assert process.communicate("go\n")[0] == "done\n"
    lasts = time.perf_counter() - begun
    return content(where), lasts


def go_on(where, job, is_old, expected):
    """The next write does what the killed one did not."""
    if is_old:
        write(job, where, None if job == "build" else Index.open(where), 1)
    assert content(where) == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(kill_often(Path(folder), args.kills, args.seed))


if __name__ == "__main__":
    main()
