"""The command line. Each file in this folder is a command; adding one needs no other change.

A command file has `HELP` (one line), `add_arguments(parser)` and `run(args)`, which returns an exit
status or None for success. It imports what it needs inside `run`, so that `sentune --help` stays
fast. Files whose name starts with `_` are not commands.
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
    """Run one command and return its exit status; None stands for this process's arguments."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return args.run(args) or 0
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Stopped.'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. `head`, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SentuneError, OSError) as error:  # of the system: a disk that is full, say
        print(f"sentune {args.command}: {error}", file=sys.stderr)
        return FAILED


def commands() -> dict[str, ModuleType]:
    """The command files of this folder by name."""
    return {
        found.name.replace("_", "-"): importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if not found.name.startswith("_")
    }


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to each help text, where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if not action.default else super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentune",
        description="Train, evaluate and run sentence embedding models.",
        epilog="`sentune COMMAND --help` shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"sentune {__version__}")
    group = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in commands().items():
        about = command.HELP
        child = group.add_parser(name, help=about, description=about, formatter_class=_Formatter)
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser
