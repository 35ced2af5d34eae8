"""The parser of the command line: a wrong word is answered by the right one that is near it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sentune.checks import nearest

FAILED = 2  # argparse's own status for a wrong command line


class Verbatim(str):
    """Text that `--help` shows as it is written."""

    __slots__ = ()


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to each help text, where there is one; keeps examples as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_said = not action.default or "(default" in (action.help or "")
        return action.help if is_said else super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if isinstance(text, Verbatim):
            return "".join(f"{indent}{line}\n" for line in text.splitlines())
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that names the nearest good option, command or choice for a bad one."""

    def __init__(self, *args: Any, examples: str = "", **options: Any) -> None:
        lines = [f"  {line}" for line in examples.strip().splitlines()]
        epilog = Verbatim("\n".join(["examples:", *lines])) if lines else None
        super().__init__(*args, **{"formatter_class": Formatter, "epilog": epilog, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; unknown options are looked for first, before a word that is missing."""
        args = sys.argv[1:] if args is None else args
        self._check_options(args)
        found, rest = super().parse_known_args(args, namespace)
        for word in rest:
            what = "there is no option" if word.startswith("-") else "there is one word too many:"
            self.error(f"{what} {word}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """End with what is wrong in a line, and where to read on."""
        end = "" if message.endswith("?") else ";"
        self.exit(FAILED, f"{self.prog}: {message}{end} `{self.prog} --help` shows what there is\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            if isinstance(action.choices, dict):  # of parsers
                near = nearest(value, action.choices) or f"; there are {', '.join(action.choices)}"
                self.error(f"there is no command {value!r}{near}")
            known = [str(choice) for choice in action.choices]
            message = (
                f"must be one of {', '.join(known)}, got {str(value)!r}{nearest(value, known)}"
            )
            raise argparse.ArgumentError(action, message)

    def _check_options(self, args: Sequence[str]) -> None:
        """End at the first option that this parser does not have, before any that follow `--`."""
        if self._subparsers is not None:  # what follows is for another parser
            end = next((n for n, word in enumerate(args) if not word.startswith("-")), len(args))
            args = args[:end]
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in args:
            if word == "--":
                return
            name = word.partition("=")[0]
            if word.startswith("--") and " " not in name:
                if not any(one.startswith(name) for one in known):
                    self.error(f"there is no option {name}{nearest(name, known)}")
