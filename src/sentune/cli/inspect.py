"""`sentune inspect`: what data for training is, what is wrong with it, and what fits it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sentune.cli._arguments import add_source, at_least, reading, rows
from sentune.cli._output import add_json, note, show

HELP = "show what data for training holds, what is wrong with it, and which losses fit"
DESCRIPTION = (
    "Show which form of training data a file is, its texts and labels, what is wrong with which "
    "rows, and which losses fit. With --model, tokens are counted by its tokenizer and labels that "
    "are likely wrong are found; without, nothing is encoded, which is fast. Rows are counted from "
    "0. The exit status is 1 if the loss (without --loss the best one) cannot learn from the data "
    "as it is."
)
EXAMPLES = """
sentune inspect questions.csv
sentune inspect pairs.csv --model sentence-transformers/all-MiniLM-L6-v2 --test test.csv
sentune inspect pairs.csv --write-clean clean.csv      # and clean.removed.csv, with reasons
sentune inspect questions.csv --model M --write-clean c.csv --also-remove "likely wrong labels"
sentune inspect pairs.jsonl --loss MultipleNegativesRankingLoss --batch-size 32
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_source(parser)
    parser.add_argument("--model", metavar="PATH_OR_ID", help="look at the texts with this model")
    parser.add_argument("--test", metavar="DATA", help="test data, which must not be in the data")
    parser.add_argument("--loss", metavar="NAME", help="check the data for this loss")
    parser.add_argument("--batch-size", type=at_least(1), metavar="N", help="rows per batch")
    parser.add_argument(
        "--write-clean",
        metavar="FILE",
        type=Path,
        help="write the rows that are not harmful to FILE (csv, tsv, json, jsonl, parquet), and "
        "those that are to NAME.removed.ENDING, with the reasons",
    )
    parser.add_argument(
        "--also-remove",
        metavar="KIND",
        action="append",
        default=[],
        help="with --write-clean, remove rows that may be meant, too: 'likely wrong labels', "
        "'one-word texts'; may be given several times",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print what the data holds; the status is 1 if the loss cannot learn from it."""
    from sentune.errors import SettingError
    from sentune.machine.screen import quiet_bars
    from sentune.workbench.inspect import check_options, inspect

    if args.also_remove and not args.write_clean:
        raise SettingError("--also-remove says what --write-clean removes, too; name its file")
    sources = [*args.source, *([args.test] if args.test else [])]
    check_options(args.loss, args.write_clean, sources, args.also_remove)
    data = rows(args)
    with quiet_bars():
        found = inspect(
            data,
            args.model,
            test=args.test,
            loss=args.loss,
            batch_size=args.batch_size,
            source=args.source,
            on_progress=lambda text: print(text, file=sys.stderr, flush=True),
            **reading(args),
        )
        if args.write_clean:
            removed = found.write_clean(args.write_clean, args.also_remove)
    show(found, args)
    if args.write_clean:
        gone = len(found.reasons(args.also_remove))
        note(f"{args.write_clean} has {found.rows - gone:,} rows, {removed} the {gone:,} that went")
    return int(any(problem["is_fatal"] for problem in found.problems))
