"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

STANDARD = "-"  # in place of a file: standard input or output
MODEL = "sentence-transformers/all-MiniLM-L6-v2"  # where none is named


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare where the rows come from."""
    parser.add_argument(
        "source",
        help="csv, tsv, json, jsonl, parquet, arrow or txt file, or Hub id of a dataset; - for "
        "standard input, a text per line",
    )
    parser.add_argument("--split", default="train", help="split to read, if there are several")


def rows(args: argparse.Namespace) -> Any:
    """The rows that `add_source` asks for, as a `datasets.Dataset`."""
    from sentune._lazy import need
    from sentune.data.read import read
    from sentune.errors import DatasetError
    from sentune.machine.screen import quiet_bars

    if args.source != STANDARD:
        with quiet_bars():
            return read(args.source, split=args.split)
    texts = [line.rstrip("\r\n") for line in sys.stdin]
    if not texts:
        raise DatasetError("standard input is empty; give it a text per line")
    return need("datasets", extra="train").Dataset.from_dict({"text": texts})


def at_least(least: int) -> Callable[[str], int]:
    """A parser of integers with a lower bound."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {least}, got {text!r}"
            )
        return int(text)

    return read
