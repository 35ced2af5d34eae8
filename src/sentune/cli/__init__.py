"""The command line. Each file in this folder is a command; adding one needs no other change.

A command file has `HELP` (one line), `DESCRIPTION` (a paragraph), `EXAMPLES` (command lines, shown
as they are written), `add_arguments(parser)` and `run(args)`, which returns an exit status or None
for success. It imports what it needs inside `run`, so that `sentune --help` stays fast. Files whose
name starts with `_` are not commands.

Exit statuses: 0 for success, `NEGATIVE` where the answer is no, `FAILED`, `INTERRUPTED`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shlex
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from sentune._version import __version__
from sentune.cli._output import streams
from sentune.cli._parser import FAILED, Parser
from sentune.errors import SentuneError

NEGATIVE = 1  # the command did its work, and the answer is no: nothing found, data that cannot be
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_ORDER = "inspect train evaluate mine encode index search info card push".split()
_EXAMPLES = """
sentune inspect questions.csv                      # what is in the file, and what is wrong with it
sentune train questions.csv --output my-model      # a better model, or why there is none
sentune evaluate all-MiniLM-L6-v2 my-model --data held-out.csv
sentune search documents/ "how do I get my money back" --model my-model
"""
_DESCRIPTION = (
    "Train, evaluate and run sentence embedding models. Results go to standard output, progress "
    "and notes to standard error. Exit status: 0 success, 1 the answer is no (nothing found, data "
    "that a loss cannot learn from), 2 an error, 130 interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; None stands for this process's arguments."""
    parser = _parser()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(words)
    args.command_line = shlex.join(["sentune", *words])  # for records of what was done
    if args.command is None:
        parser.print_help()
        return 0
    try:
        with streams(is_quiet=args.quiet):
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
    except Exception:  # a bug; Python's own status for it would say that the answer is no
        if argv is not None:
            raise
        traceback.print_exc()
        return FAILED


def commands() -> dict[str, ModuleType]:
    """The command files of this folder by name: in the order of work, then the others."""
    names = [one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_")]
    ordered = [name for name in _ORDER if name in names]
    ordered += [name for name in names if name not in _ORDER]
    return {
        name.replace("_", "-"): importlib.import_module(f"{__name__}.{name}") for name in ordered
    }


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sentune",
        description=f"{_DESCRIPTION} `sentune COMMAND --help` shows the options of a command.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"sentune {__version__}")
    group = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in commands().items():
        child = group.add_parser(
            name,
            help=command.HELP,
            description=getattr(command, "DESCRIPTION", command.HELP),
            examples=getattr(command, "EXAMPLES", ""),
        )
        command.add_arguments(child)
        child.add_argument(
            "-q", "--quiet", action="store_true", help="show nothing but results and errors"
        )
        child.set_defaults(run=command.run)
    return parser
