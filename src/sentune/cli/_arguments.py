"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from sentune.hub.usual import MODEL as MODEL

STANDARD = "-"  # in place of a file: standard input or output


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare where the rows come from, and what is taken of them."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="DATA",
        help="csv, tsv, json, jsonl, parquet, arrow or txt files, patterns such as 'data/*.csv', a "
        "folder of files of one kind, or Hub id of a dataset; - for standard input",
    )
    parser.add_argument("--split", default="train", help="split to read, if there are several")
    add_columns(parser)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Declare which columns of the rows are taken, and what becomes of rows that are broken."""
    group = parser.add_argument_group("how the data is read")
    group.add_argument(
        "--columns",
        type=column_names,
        metavar="NEW=OLD,...",
        help="the columns to take, in order, with new names: anchor=query,positive=doc; or only "
        "their names: query,doc",
    )
    group.add_argument("--label", metavar="COLUMN", help="column with the labels or scores")
    group.add_argument(
        "--format",
        dest="data_format",
        metavar="NAME",
        help="what the files are, whatever their names: csv, tsv, json, jsonl, parquet, arrow, txt",
    )
    add_odd(group)


def add_odd(group: Any) -> None:
    """Declare what becomes of rows that are broken, and of texts that are not UTF-8."""
    group.add_argument(
        "--skip-bad-rows",
        nargs="?",
        const=True,
        metavar="FILE",
        help="leave out rows that cannot be read, count them, and write them to FILE (JSON lines)",
    )
    group.add_argument(
        "--encoding", metavar="NAME", help="of text files, as latin-1 (default: detected)"
    )


def column_names(text: str) -> dict[str, str]:
    """New name -> name in the file, of `new=old,...` or of `name,...`."""
    pairs = [part.partition("=") for part in text.split(",")]
    names = {new.strip(): (old if sign else new).strip() for new, sign, old in pairs}
    if len(names) != len(pairs) or not all([*names, *names.values()]):
        raise argparse.ArgumentTypeError(
            f"must be different names as in anchor=query,positive=doc, got {text!r}"
        )
    return names


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for of how the data is read, as `sentune.data.read.read` takes it."""
    asked = {
        "split": args.split,
        "columns": getattr(args, "columns", None),
        "label": getattr(args, "label", None),
        "skip_bad_rows": getattr(args, "skip_bad_rows", None),
        "format": getattr(args, "data_format", None),
        "encoding": getattr(args, "encoding", None),
    }
    return {name: value for name, value in asked.items() if value is not None}


def rows(args: argparse.Namespace, source: Any = None, **others: Any) -> Any:
    """The rows that `add_source` asks for as a `datasets.Dataset`, or those of another source."""
    from sentune.data.read import read
    from sentune.machine.screen import quiet_bars

    options = {**reading(args), **others}
    source = source or args.source
    if not hasattr(args, "data_format") and source in (STANDARD, [STANDARD]):
        options["format"] = "txt"  # a command that cannot be told what it is reads texts
    with quiet_bars():
        return read(source, **options)


def at_least(least: int) -> Callable[[str], int]:
    """A parser of integers with a lower bound."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {least}, got {text!r}"
            )
        return int(text)

    return read
