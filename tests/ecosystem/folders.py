"""Folders of sentune are read by older releases of sentence-transformers, and by other programs.

    python tests/ecosystem/folders.py .venv-interop/5.1.2 .venv-interop/reader-fastembed ...

Each argument is an environment without sentune. The programs in it read the folders, and their
numbers are compared with sentune's. Then the releases of sentence-transformers read the folders of
the newest release, and what they read of those is noted. The rows go to docs/ecosystem.md.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tests.ecosystem import environments, makers, page, readers
from tests.interop.report import TOLERANCE, gap, say

PEER = "sentence-transformers"
# ONNX runs other kernels than torch, with sums in another order.
TOLERANCES = {"optimum-onnx": 1e-4, "fastembed": 1e-4}
# What a release does not read, and why.
UNREAD = {
    ("2.7.0", "static"): "has no StaticEmbedding (new in 3.2)",
    ("2.7.0", "minilm-dense"): "reads Dense only if saved with `safe_serialization=False`",
}
PREFIX = "reader-"


def programs_of(environments: list[Path]) -> list[tuple[Path, str]]:
    """What reads folders in each environment; plain transformers also where the first release is.

    All releases before 6 are there with the same transformers, the newest below 5.
    """
    found = []
    for place in environments:
        name = place.name.removeprefix(PREFIX)
        if name in readers.PROGRAMS:
            found.append((place, name))
        else:
            is_first = PEER not in [program for _, program in found]
            found += [(place, program) for program in (PEER, *["transformers"] * is_first)]
    return found


def main(places: list[str]) -> int:
    if not places:
        raise SystemExit(__doc__)
    failed = []
    with tempfile.TemporaryDirectory() as room:
        ours, theirs = Path(room, "sentune"), Path(room, "sentence_transformers")
        for root in (ours, theirs):
            command = [sys.executable, "-m", "tests.ecosystem.makers", root.name, root]
            environments.run(command, PYTHONPATH=str(environments.REPOSITORY / "src"))
        for environment, program in programs_of(list(map(Path, places))):
            failed += written(environment, program, ours, theirs)
    say(f"failed: {'; '.join(failed)}" if failed else "every folder was read as it was meant")
    return int(bool(failed))


def written(environment: Path, program: str, ours: Path, theirs: Path) -> list[str]:
    """The faults of a program; its row is written if there are none."""
    gaps, errors, releases = read(environment, program, ours)
    release = releases[program]
    known = {name: why for (of, name), why in UNREAD.items() if (program, release) == (PEER, of)}
    limit = TOLERANCES.get(program, TOLERANCE)
    faults = [f"{program} {release}, {name}: {error}" for name, error in errors.items()]
    faults = [fault for fault, name in zip(faults, errors, strict=True) if name not in known]
    faults += [f"{program} {release}, {it}: {gap:.1e}" for it, gap in gaps.items() if gap > limit]
    if not gaps:
        faults.append(f"{program} {release} read nothing")
    if faults:
        return faults
    notes = list(known.values())
    if program == PEER:
        notes.append(counter(environment, theirs))
    row = {
        "kind": "folder",
        "name": program,
        "release": shown(program, releases),
        "job": ", ".join(gaps),
        "difference": max(gaps.values()),
        "note": "; ".join(notes),
    }
    page.write_row("folder", f"{program}-{release}", row)
    say(f"ok   {program} {row['release']}: {len(gaps)} folders, {row['difference']:.1e}")
    say(f"     {row['note']}")
    return []


def read(environment: Path, program: str, root: Path) -> tuple[dict, dict, dict[str, str]]:
    """Differences from what is wanted, errors, both by folder; and releases."""
    with tempfile.TemporaryDirectory() as room:
        out = Path(room, "out")
        python = environment / "bin" / "python"
        environments.run([python.absolute(), "-m", "tests.ecosystem.readers", program, root, out])
        about: dict[str, Any] = json.loads((out / readers.ABOUT).read_text(encoding="utf-8"))
        gaps = {
            path.stem: gap(np.load(path), np.load(root / path.stem / makers.WANTED))
            for path in sorted(out.glob("*.npy"))
        }
    return gaps, about["errors"], about["releases"]


def counter(environment: Path, theirs: Path) -> str:
    """How many folders of the newest sentence-transformers a release reads."""
    gaps, errors, _ = read(environment, PEER, theirs)
    equal = [name for name, gap in gaps.items() if gap <= TOLERANCE]
    other = sorted(gaps.keys() - set(equal))
    for name, error in errors.items():
        say(f"     of sentence-transformers 6.2, {name}: {error.splitlines()[0][:150]}")
    of = f"of {len(gaps) + len(errors)} folders of sentence-transformers 6.2 reads {len(equal)}"
    kinds = sorted({re.split(r"[:\n]", error)[0] for error in errors.values()})
    found = [f"({', '.join(equal)})"] if equal else []
    found += [f"gives other numbers for {', '.join(other)}"] if other else []
    found += [f"{len(errors)} end in {' or '.join(kinds)}"] if errors else []
    return ", ".join([of, *found])


def shown(program: str, releases: dict[str, str]) -> str:
    """The release of a program, and those of what computes below it."""
    below = [name for name in ("transformers", "onnxruntime") if name in releases]
    others = ", ".join(f"{name} {releases[name]}" for name in below if name != program)
    return f"{releases[program]} ({others})" if others else releases[program]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
