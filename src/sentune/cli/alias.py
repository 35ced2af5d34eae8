"""`sentune alias`: programs of this environment that import sentence_transformers get sentune."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "let programs that import sentence_transformers use sentune"
DESCRIPTION = (
    "Let programs of this Python environment that import sentence_transformers use sentune, "
    "without a change to them; `off` takes it back. The exit status of `status` is 1 if it is off."
)
EXAMPLES = """
sentune alias on
sentune alias status
sentune alias off
"""

# The folder below that of the installed packages, and the file that Python reads when it starts.
_FOLDER, _START = "sentune_alias", "sentune_alias.pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "action", choices=["on", "off", "status"], help="for all programs of this environment"
    )
    parser.add_argument(
        "--shadow", action="store_true", help="also where sentence-transformers is installed"
    )
    parser.add_argument("--folder", help="where packages are installed; by default this Python's")


def run(args: argparse.Namespace) -> int:
    """Do it, and print how things are; of `status`, the status is 1 if it is off."""
    import sysconfig

    from sentune.compat import alias
    from sentune.compat.addresses import PEER
    from sentune.machine.screen import say

    folder = Path(args.folder or sysconfig.get_path("purelib"))
    if args.action == "on":
        _write(folder, shadow=args.shadow)
    elif args.action == "off":
        _remove(folder)
    is_on = (folder / _START).exists()
    real = alias.installed()
    hidden = f"; {alias.PROJECT} {real} is hidden by it" if is_on else f"; it is release {real}"
    what = "sentune" if is_on else alias.PROJECT if real else "nothing"
    say(f"import {PEER} gives {what}{hidden if real else ''} ({folder})")
    return int(args.action == "status" and not is_on)


def _write(folder: Path, *, shadow: bool) -> None:
    from sentune.compat import alias
    from sentune.compat.addresses import PEER, RELEASE
    from sentune.disk import files
    from sentune.errors import SettingError

    if (real := alias.installed()) and not shadow:
        raise SettingError(
            f"{alias.PROJECT} {real} is installed; uninstall it, or use --shadow to have sentune "
            "in its place while the alias is on"
        )
    base = folder / _FOLDER
    about = base / f"{PEER}-{RELEASE}.dist-info"
    code = f'"""Made by `sentune alias on`."""\n\nfrom {alias.__name__} import enter\n\nenter()\n'
    try:
        files.write(base / PEER / "__init__.py", code.encode())
        for name, text in alias.ABOUT.items():
            files.write(about / name, text.encode())
        start = f"import sys; sys.path.insert(0, {str(base)!r})\n"
        files.write(folder / _START, start.encode())
    except OSError as error:
        _remove(folder)
        raise SettingError(f"the alias cannot be written: {error}") from error


def _remove(folder: Path) -> None:
    import shutil

    (folder / _START).unlink(missing_ok=True)
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)
