"""Each extra of pyproject.toml, installed alone and all together, does its job.

    python tests/interop/extras.py                              # prints the extras
    python tests/interop/extras.py .venv-interop/extra-peft ...

Each argument is an environment with sentune and the extras in its name, and nothing more.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIX = "extra-"
FOR_DEVELOPERS = ("dev", "check")
# Exact, also on CPUs whose default is bfloat16; and what is installed here is used, nothing else.
SETTINGS = {"HF_HUB_OFFLINE": "1", "SENTUNE_DTYPE": "float32", "PYTHONPATH": ""}


def extras() -> list[str]:
    """The extras for users. Read without tomllib, which Python 3.10 does not have."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", project, re.M | re.S)
    if table is None:
        raise SystemExit("pyproject.toml has no [project.optional-dependencies]")
    names = re.findall(r"^([\w-]+) = \[", table[1], re.MULTILINE)
    return [name for name in names if name not in FOR_DEVELOPERS]


def main(environments: list[Path]) -> int:
    failed = [environment.name for environment in environments if not does_its_jobs(environment)]
    done = len(environments) - len(failed)
    sys.stdout.write(f"{done} of {len(environments)} environments of extras do their jobs\n")
    if failed:
        sys.stdout.write(f"failed: {', '.join(failed)}\n")
    return int(bool(failed))


def does_its_jobs(environment: Path) -> bool:
    """Whether the jobs of the extras in an environment's name succeed; it is printed."""
    names = environment.name.removeprefix(PREFIX).split(",")
    command = [environment / "bin" / "python", "-m", "tests.interop.jobs", *names]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
    )
    sys.stdout.write(f"{environment.name}\n{done.stdout}")
    if done.returncode:
        sys.stdout.write(done.stderr[-4000:])
    sys.stdout.flush()
    return not done.returncode


if __name__ == "__main__":
    if arguments := sys.argv[1:]:
        sys.exit(main(list(map(Path, arguments))))
    single = extras()
    sys.stdout.write(" ".join([*single, ",".join(single)]))
