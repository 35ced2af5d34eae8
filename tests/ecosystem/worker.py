"""Runs the job of a library in some environment, and says who did the work.

    python -m tests.ecosystem.worker keybert OUT

OUT gets values.npz, the arrays of the job, and about.json: the releases, and how often what the
library calls was called.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np

VALUES, ABOUT = "values.npz", "about.json"
PEER = "sentence_transformers"
# What is counted -> the class whose method it is.
CALLS = {
    "encode": "SentenceTransformer",
    "encode_query": "SentenceTransformer",
    "encode_document": "SentenceTransformer",
    "encode_multi_process": "SentenceTransformer",
    "predict": "CrossEncoder",
    "compute_loss": "SentenceTransformerTrainer",
}


def count(name: str, calls: dict[str, int]) -> None:
    """Count the calls of a method from now on."""
    owner = getattr(importlib.import_module(PEER), CALLS[name])
    before = getattr(owner, name)
    calls[name] = 0

    @functools.wraps(before)
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return before(*args, **kwargs)

    setattr(owner, name, counted)


def library() -> str:
    """Which library works under the name here; an error if the other one is loaded, too."""
    installer = (distribution(PEER.replace("_", "-")).read_text("INSTALLER") or "").strip()
    there = {name: found for name, found in sys.modules.items() if name.split(".")[0] == PEER}
    ours = [name for name, found in there.items() if "sentune" in type(found).__module__]
    if installer == "sentune":
        assert len(ours) == len(there), f"not sentune's: {sorted(set(there) - set(ours))}"
        return "sentune"
    assert not [name for name in sys.modules if name.split(".")[0] == "sentune"]
    return "peer"


def main(name: str, out: Path) -> None:
    job = importlib.import_module(f"tests.ecosystem.jobs.{name}")
    calls: dict[str, int] = {}
    for counted in job.COUNTED:
        count(counted, calls)
    room = out / "room"
    room.mkdir(parents=True)
    values = job.run(room)
    np.savez(out / VALUES, allow_pickle=False, **values)
    worked = library()
    names = ["torch", "transformers", "sentence-transformers", job.LIBRARY]
    releases = {name: version(name) for name in [*names, *["sentune"] * (worked == "sentune")]}
    about = {"library": worked, "calls": calls, "releases": releases}
    (out / ABOUT).write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
