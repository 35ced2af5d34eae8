"""Libraries that build on sentence-transformers, run with it and with sentune: equal results.

    python tests/ecosystem/run.py [--only keybert setfit] [--keep]

Each library is installed twice, in fresh environments: one with sentence-transformers, one with
sentune and `sentune alias on`. Both run the job of the library in `jobs/`, and what comes out is
compared. Then the table in docs/ecosystem.md is written, of these results and those of before.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tests.ecosystem import environments, page, worker
from tests.ecosystem.environments import Failed
from tests.interop.report import gap, say

LIBRARIES = ("peer", "sentune")
JOBS = sorted(path.stem for path in Path(__file__).parent.glob("jobs/[a-z]*.py"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", metavar="LIBRARY", help=f"of {', '.join(JOBS)}")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    parser.add_argument("--render", action="store_true", help="run nothing, write the table")
    args = parser.parse_args()
    if unknown := set(args.only or ()) - set(JOBS):
        parser.error(f"no job for {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    return args


def main() -> int:
    args = arguments()
    failed = []
    if not args.render:
        environments.make_shared()
    for name in () if args.render else args.only or JOBS:
        try:
            row = compare(name, keep=args.keep)
        except Failed as error:
            failed.append(name)
            say(f"FAIL {name}\n{error}")
        else:
            page.write_row("library", name, row)
            say(f"ok   {name} {row['release']}: {row['difference']:.1e}")
    say(f"written: {page.render()}")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def compare(name: str, *, keep: bool) -> dict[str, Any]:
    """The row of a library, from a run in each of two fresh environments."""
    job = importlib.import_module(f"tests.ecosystem.jobs.{name}")
    home = environments.HOME / name
    with tempfile.TemporaryDirectory() as room:
        outs = {library: Path(room, library) for library in LIBRARIES}
        try:
            for library, out in outs.items():
                python = environments.make(home / library, library, job.NEEDS, job.BARE)
                environments.run([python, "-m", "tests.ecosystem.worker", name, out])
        finally:
            if not keep:
                shutil.rmtree(home, ignore_errors=True)
        return row(job, *(read(out) for out in outs.values()))


def read(out: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a run, and what is said of it."""
    about = json.loads((out / worker.ABOUT).read_text(encoding="utf-8"))
    return dict(np.load(out / worker.VALUES)), about


def row(job: ModuleType, peer: tuple, ours: tuple) -> dict[str, Any]:
    """What the table says of a library; `Failed` if results differ, or others did the work."""
    (wanted, there), (found, here) = peer, ours
    if (there["library"], here["library"]) != LIBRARIES:
        raise Failed(f"run by {there['library']} and {here['library']}")
    if not all([*here["calls"].values(), *there["calls"].values()]):
        raise Failed(f"calls of sentune {here['calls']}, of the peer {there['calls']}")
    if there["releases"].items() - here["releases"].items():
        raise Failed(f"releases beside sentune {here['releases']}, the peer {there['releases']}")
    if wanted.keys() != found.keys():
        raise Failed(f"results {sorted(found)}, of the peer {sorted(wanted)}")
    gaps = {key: difference(found[key], value) for key, value in wanted.items()}
    worst = max(gaps, key=lambda key: gaps[key])
    if gaps[worst] > job.TOLERANCE:
        raise Failed(f"differences { ({key: f'{gap:.1e}' for key, gap in gaps.items()}) }")
    return {
        "name": job.LIBRARY,
        "release": here["releases"][job.LIBRARY],
        "job": job.JOB,
        "difference": gaps[worst],
        "calls": here["calls"],
        "note": job.NOTE,
        "releases": here["releases"],
    }


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of numbers; of anything else 0 if equal, else infinity."""
    if wanted.dtype.kind in "fiu" and found.dtype.kind in "fiu":
        return gap(found.astype(float), wanted.astype(float))
    return 0.0 if wanted.size and np.array_equal(found, wanted) else float("inf")


if __name__ == "__main__":
    sys.exit(main())
