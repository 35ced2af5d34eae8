"""sentune computes the same with the oldest transformers and in other versions of Python.

    python tests/interop/versions.py .venv-interop/transformers-5.5 .venv-interop/python-3.10 ...

Each argument is an environment in which sentune is installed. One that is not there is named, and
left out: it could not be made, since this machine does not have that Python.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tests.interop import values
from tests.interop.report import check, run, say

SCRIPT = Path(values.__file__)


def main(environments: list[str]) -> int:
    if not environments:
        raise SystemExit(__doc__)
    warnings.filterwarnings("ignore", ".*had more than max_seq_length")
    results, done, absent = [], [], []
    with tempfile.TemporaryDirectory() as room:
        bases, here = Path(room, "bases"), Path(room, "here")
        values.make_bases(bases)
        run(sys.executable, SCRIPT, bases, here)
        say(f"here: {shown(here)}")
        for place in map(Path, environments):
            if (place / "ready").exists():
                results += compare(place, bases, here, Path(room, place.name))
                done.append(place.name)
            else:
                absent.append(place.name)
    say(f"{sum(results)} of {len(results)} comparisons are equal")
    say(f"run: {', '.join(done) or 'none'}")
    say(f"NOT run, since this machine has no such Python: {', '.join(absent) or 'none'}")
    return 0 if results and all(results) else 1


def compare(environment: Path, bases: Path, here: Path, there: Path) -> list[bool]:
    """Results of all comparisons with what an environment computes.

    Args:
        environment: Its folder.
        bases: Checkpoints to start from.
        here: What this environment made of them.
        there: Where the other one writes.
    """
    run(environment / "bin" / "python", SCRIPT, bases, there, here)
    say(f"{environment.name}: {shown(there)}")
    wanted = dict(np.load(here / values.VALUES))
    found = dict(np.load(there / values.VALUES))
    results = [check(name, found[name], value) for name, value in wanted.items()]
    for name in (name for name in wanted if f"read: {name}" in found):
        elsewhere = found[f"read: {name}"]
        results.append(check(f"saved here, read there: {name}", elsewhere, wanted[name]))
    for name, value in values.read(there).items():
        results.append(check(f"saved there, read here: {name}", value, found[name]))
    assert len(results) == 30, "not everything was compared"
    return results


def shown(folder: Path) -> str:
    found = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    return ", ".join(f"{name} {version}" for name, version in found.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
