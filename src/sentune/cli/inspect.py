"""`sentune inspect`: the form of a dataset, problems in it, and the losses that fit."""

from __future__ import annotations

import argparse

HELP = "show the form of a dataset, problems in it, and which losses fit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source", help="csv, tsv, json, jsonl, parquet, arrow or txt file, or Hub id of a dataset"
    )
    parser.add_argument("--split", default="train", help="split to read, if there are several")
    parser.add_argument("--loss", metavar="NAME", help="check the data for this loss")
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows per batch")


def run(args: argparse.Namespace) -> int:
    """Print what the dataset holds; the status is 1 if the loss cannot learn from it."""
    from sentune.data.profile import profile
    from sentune.data.read import read
    from sentune.losses.fitting import advice, problems
    from sentune.machine.screen import quiet_bars, say

    with quiet_bars():
        found = profile(read(args.source, split=args.split))
    say(f"{found.rows:,} rows of {found.words}")
    for column in found.inputs:
        mean = column.characters / found.rows
        say(f"  {column.name}: {mean:,.0f} characters on average, {column.longest:,} at most")
    say(advice(found)[0].upper() + advice(found)[1:])
    wrong = problems(found, args.loss or "", batch_size=args.batch_size)
    for problem in wrong:
        say(f"{'error' if problem.is_fatal else 'warning'}: {problem.text}")
    return int(any(problem.is_fatal for problem in wrong))
