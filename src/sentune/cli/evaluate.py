"""`sentune evaluate`: several models on the same held-out rows, side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sentune.cli._arguments import add_columns, at_least, rows
from sentune.cli._output import add_json, note, notes_after, show

HELP = "measure models on held-out rows, and say whether one is really better"
DESCRIPTION = (
    "Measure one or several models on the same held-out rows. The form of the rows decides what is "
    "measured: correlation for scored pairs, average precision for pairs with a class, accuracy of "
    "the nearest neighbours for texts with a class, rank of the answer for pairs, accuracy for "
    "triplets. Each figure comes with the interval that holds 95% of the draws of a bootstrap, and "
    "each difference to the first model with one of its own: only where that leaves out zero is it "
    "called better or worse. The page DIR/report.html shows the queries, neighbours and scores "
    "behind the figures, and DIR/run.json holds all of it as data."
)
EXAMPLES = """
sentune evaluate all-MiniLM-L6-v2 my-model --data held-out.csv
sentune evaluate my-model --data questions-test.csv --train questions.csv --label intent
sentune evaluate base small large --data pairs.jsonl --columns query,answer --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="folders or Hub ids of models; the first is the "
        "one that the others are compared with"
    )  # fmt: skip
    parser.add_argument(
        "--data", nargs="+", metavar="FILE", help="held-out rows: files, patterns such as "
        "'data/*.csv', a folder of files of one kind, or Hub id of a dataset; - for standard input"
    )  # fmt: skip
    parser.add_argument(
        "--train", nargs="+", metavar="FILE", help="rows of the same form to look for neighbours "
        "and answers in: the labelled texts of classes, more documents for a search"
    )  # fmt: skip
    parser.add_argument(
        "--split", default="train", help="split of --data to read, if there are several; of "
        "--train it is 'train', if there is such a one"
    )  # fmt: skip
    add_columns(parser)
    parser.add_argument(
        "--rows", type=at_least(1), metavar="N", help="measure on a random sample of N rows"
    )
    parser.add_argument("--seed", type=int, default=12, help="of the sample and the bootstrap")
    _add_loading(parser.add_argument_group("how the models run"))
    _add_output(parser.add_argument_group("what is written"))


def _add_loading(group: Any) -> None:
    group.add_argument("--device", metavar="D", help="where to compute, e.g. cuda:1")
    group.add_argument(
        "--dtype", choices=("auto", "float32", "bfloat16", "float16"), help="what to compute in"
    )
    group.add_argument(
        "--truncate-dim", type=at_least(1), metavar="N", help="keep the first N dimensions"
    )


def _add_output(group: Any) -> None:
    add_json(group)
    group.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("evaluation"),
        help="folder for report.html and run.json; those of an earlier evaluation are replaced",
    )
    group.add_argument(
        "--report", metavar="FILE", type=Path, help="write only the page, to this file"
    )
    group.add_argument("--no-report", action="store_true", help="write no files")


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write the report."""
    _check(args)
    with notes_after() as known:  # of reading, some of which are with the figures, too
        found = _evaluated(args)
        known += found.notes
    show(found, args)
    _write(found, args)


def _evaluated(args: argparse.Namespace) -> Any:
    from sentune.machine.screen import quiet_bars
    from sentune.workbench import evaluate

    data, train = rows(args, args.data), _train_rows(args)
    loading = {name: getattr(args, name) for name in ("device", "dtype", "truncate_dim")}
    with quiet_bars():
        return evaluate(
            args.models,
            data,
            train=train,
            rows=args.rows,
            seed=args.seed,
            source=args.data,
            train_source=args.train,
            command=args.command_line,
            examples=not args.no_report,
            on_progress=lambda text: print(text, file=sys.stderr, flush=True),
            **loading,
        )


def _train_rows(args: argparse.Namespace) -> Any:
    """The rows of --train; None without it."""
    from sentune.data.sources import own_part

    if not args.train:
        return None
    # Broken ones must not replace those of the data.
    skipping = {"skip_bad_rows": True} if args.skip_bad_rows else {}
    return own_part(
        lambda split: rows(args, args.train, split=split, **skipping), "train", args.split
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse a command that names no data, or a folder that is taken, before any work."""
    from sentune.data.write import check_no_source
    from sentune.errors import SettingError
    from sentune.workbench.measuring.comparison import check_folder

    if not args.no_report and args.report is None:
        check_folder(args.output)
    if args.data:
        if args.report is not None:
            check_no_source(args.report, [*args.data, *(args.train or [])])
        return
    files = [name for name in args.models if Path(name).is_file()]
    meant = f"; did you mean --data {files[-1]}?" if files else ""
    raise SettingError(f"the held-out rows are missing; name them with --data FILE{meant}")


def _write(found: Any, args: argparse.Namespace) -> None:
    """Write the report; what is not installed for it is a note, since the figures are there."""
    from sentune.disk import files
    from sentune.errors import MissingDependencyError

    if args.no_report:
        return
    try:
        if args.report is not None:
            files.write(args.report, found.report().encode())
            note(f"the report is in {args.report}")
        else:
            note(f"the report is in {found.write(args.output)}")
    except MissingDependencyError as error:
        note(f"no report was written: {error}")
