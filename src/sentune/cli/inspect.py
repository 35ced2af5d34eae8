"""`sentune inspect`: the form of a dataset, problems in it, and the losses that fit."""

from __future__ import annotations

import argparse
from difflib import get_close_matches

from sentune.cli._arguments import add_source, at_least, rows
from sentune.errors import SettingError

HELP = "show the form of a dataset, problems in it, and which losses fit"
DESCRIPTION = (
    "Show which form of training data a file is, what is wrong with it, and which losses fit it. "
    "The exit status is 1 if the loss that is asked for cannot learn from it."
)
EXAMPLES = """
sentune inspect questions.csv
sentune inspect pairs.jsonl --loss MultipleNegativesRankingLoss --batch-size 32
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_source(parser)
    parser.add_argument("--loss", metavar="NAME", help="check the data for this loss")
    parser.add_argument("--batch-size", type=at_least(1), metavar="N", help="rows per batch")


def run(args: argparse.Namespace) -> int:
    """Print what the dataset holds; the status is 1 if the loss cannot learn from it."""
    from sentune.data.profile import profile
    from sentune.losses.fitting import advice, problems, public_losses
    from sentune.machine.screen import quiet_bars, say

    _check_loss(args.loss, list(public_losses()))
    data = rows(args)
    with quiet_bars():
        found = profile(data)
    say(f"{found.rows:,} rows of {found.words}")
    for column in found.inputs:
        mean = column.characters / found.rows
        say(f"  {column.name}: {mean:,.0f} characters on average, {column.longest:,} at most")
    say(advice(found)[0].upper() + advice(found)[1:])
    wrong = problems(found, args.loss or "", batch_size=args.batch_size)
    for problem in wrong:
        say(f"{'error' if problem.is_fatal else 'warning'}: {problem.text}")
    return int(any(problem.is_fatal for problem in wrong))


def _check_loss(name: str | None, known: list[str]) -> None:
    if name is not None and name not in known:
        near = get_close_matches(name, known) or known
        raise SettingError(f"there is no loss {name!r}; there are {', '.join(near)}")
