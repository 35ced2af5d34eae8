"""What `index` and `search` share: reading documents, progress, notes for the person."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Declare which columns of tables are read."""
    parser.add_argument(
        "--text", metavar="COLUMN", help="column with the texts (default: text, or the first)"
    )
    parser.add_argument(
        "--id", metavar="COLUMN", help="column with the ids (default: id; else rows are counted)"
    )


def documents(source: str, args: argparse.Namespace) -> Any:
    """The documents of a file or folder; what is odd with them goes to standard error."""
    from sentune.index.documents import documents_of

    found = documents_of(source, args.text, args.id)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    return found


@contextmanager
def building(total: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A function to report progress to; warnings become notes on standard error."""
    from sentune.errors import SentuneWarning
    from sentune.machine.screen import Progress

    bar = Progress("Indexing", max(1, total or 1), "documents", sys.stderr)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", SentuneWarning)
        try:
            yield lambda done, total: bar.show(done)
        finally:
            bar.close()
    for warning in found:
        if issubclass(warning.category, SentuneWarning):
            print(f"note: {warning.message}", file=sys.stderr)
