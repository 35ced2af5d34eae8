"""What `index` and `search` share: reading documents, progress, notes for the person."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sentune.cli._output import note, notes_after


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Declare which columns of tables are read."""
    parser.add_argument(
        "--text",
        metavar="COLUMN",
        help="column with the texts (default: text, or the first whose texts have several words)",
    )
    parser.add_argument(
        "--id", metavar="COLUMN", help="column with the ids (default: id; else rows are counted)"
    )


def documents(source: str, args: argparse.Namespace) -> Any:
    """The documents of a file or folder; what is odd with them goes to standard error."""
    from sentune.index.documents import documents_of

    found = documents_of(source, args.text, args.id)
    for text in found.notes:
        note(text)
    return found


@contextmanager
def building(total: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A function to report progress to; warnings are shown after it."""
    from sentune.machine.screen import Progress

    bar = Progress("Indexing", max(1, total or 1), "documents", sys.stderr)
    with notes_after():
        try:
            yield lambda done, total: bar.show(done)
        finally:
            bar.close()
