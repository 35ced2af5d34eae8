"""The command line. One file in this folder is one command; a new one needs no other change.

A command file has `HELP` (one line), `add_arguments(parser)` and `run(args)`, which returns an exit
status or None for success. It imports what it needs inside `run`, so that `sentune --help` stays
instant. Files whose name starts with `_` are no commands.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from sentune._version import __version__
from sentune.errors import SentuneError

FAILED = 2  # also argparse's status for a wrong command line
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: The words after `sentune`; by default those of this process.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return args.run(args) or 0
    except SentuneError as error:
        print(f"sentune {args.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Stopped.'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def commands() -> dict[str, ModuleType]:
    """The command files of this folder by name."""
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    return {
        name.replace("_", "-"): importlib.import_module(f"{__name__}.{name}")
        for name in names
        if not name.startswith("_")
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentune",
        description="Train, evaluate and use sentence embedding models.",
        epilog="`sentune COMMAND --help` tells more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"sentune {__version__}")
    group = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in commands().items():
        child = group.add_parser(
            name,
            help=command.HELP,
            description=command.HELP,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser
