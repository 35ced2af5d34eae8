"""Prints an interpreter of a version of Python; nothing if this machine has none.

    python tests/interop/pythons.py 3.10

It may be on the PATH as python3.10, or be one of pyenv's that is not switched on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def candidates(version: str) -> Iterator[str]:
    if found := shutil.which(f"python{version}"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for folder in sorted(pyenv.glob(f"versions/{version}.*"), reverse=True):
        yield str(folder / "bin" / "python")
    yield sys.executable


def is_of(version: str, python: str) -> bool:
    """Whether an interpreter runs, and is of a version; pyenv's own on the PATH may do neither."""
    asked = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", asked], capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


if __name__ == "__main__":
    wanted = sys.argv[1]
    sys.stdout.write(next((it for it in candidates(wanted) if is_of(wanted, it)), ""))
