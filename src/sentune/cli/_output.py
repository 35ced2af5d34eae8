"""What a command says and where: results to standard output, everything else to standard error."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import Any, Protocol

from sentune.errors import SentuneWarning


class Result(Protocol):
    """What a command found: shown as text by `str`, and as JSON by `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""


def add_json(parser: Any) -> None:
    """Declare `--json`, which `show` follows, in a parser or a group of one."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def show(result: Result, args: argparse.Namespace) -> None:
    """Print a result: for a person, or as JSON if that is asked for."""
    print(as_json(result.to_dict()) if args.json else str(result), flush=True)


def as_json(value: Any, indent: int | None = 2) -> str:
    """A value as JSON that every reader takes: numbers that are not finite become null."""
    plain = _finite(value)
    return json.dumps(plain, ensure_ascii=False, indent=indent, default=str, allow_nan=False)


def note(text: str) -> None:
    """Say something that is no result."""
    print(f"note: {text}", file=sys.stderr, flush=True)


@contextmanager
def streams(*, is_quiet: bool) -> Iterator[None]:
    """Inside the block warnings are notes, and nothing but results is shown if it is quiet.

    Progress, notes, log lines and warnings all go to standard error, whoever writes them; so that
    one place silences them. Errors are printed after the block.
    """
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a letter is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    with ExitStack() as stack:
        if is_quiet:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stderr(nowhere))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default", SentuneWarning)  # they are what a command has to say
        warnings.showwarning = _as_note
        yield


@contextmanager
def notes_after() -> Iterator[list[str]]:
    """Hold warnings back until the block ends; those put into the list are said elsewhere."""
    known: list[str] = []
    with warnings.catch_warnings(record=True) as found:
        try:
            yield known
        finally:
            for warning in found:
                if str(warning.message) not in known:
                    _as_note(warning.message, warning.category)


def _as_note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    is_ours = issubclass(category, SentuneWarning)
    print(f"{'note' if is_ours else category.__name__}: {message}", file=sys.stderr, flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):  # a number of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
