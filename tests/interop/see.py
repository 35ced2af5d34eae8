"""Let one environment see the packages of another, which pip then counts as installed.

    python tests/interop/see.py .venv-interop/5.0.0 .venv-interop/torch

What is installed in the first one comes before them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ASK = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"


def packages_of(environment: Path) -> Path:
    """The folder of an environment's packages."""
    command = [environment / "bin" / "python", "-c", _ASK]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def see(environment: Path, other: Path) -> None:
    seen = packages_of(environment) / f"{other.name}.pth"
    seen.write_text(f"{packages_of(other.absolute())}\n", encoding="utf-8")


if __name__ == "__main__":
    see(*map(Path, sys.argv[1:]))
