"""`sentune mine`: hard negatives for the pairs of a file."""

from __future__ import annotations

import argparse
from typing import Any

from sentune.cli._arguments import MODEL, add_source, at_least, rows
from sentune.cli._output import add_json, note, show

HELP = "find hard negatives for pairs: texts that look like the answer and are not"
DESCRIPTION = (
    "Find hard negatives for pairs of texts that belong together: for each anchor the documents "
    "nearest to it, besides its own positives. Training with them teaches a model what only looks "
    "alike. A margin or a highest score leaves out what may be another right answer, and a "
    "CrossEncoder judges that better. Written as triplets, tuples, labelled pairs or lists."
)
EXAMPLES = """
sentune mine pairs.csv -o triplets.csv
sentune mine pairs.jsonl -o tuples.jsonl --count 5 --as n-tuple --relative-margin 0.05
sentune mine pairs.csv -o mined.parquet --corpus documents.txt --max-score 0.9 --scores
"""
_LIMITS = (
    ("range_min", "range_max", "absolute_margin", "relative_margin", "max_score", "min_score")
    + ("sampling_strategy",)
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_source(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True,
        help="file for the rows: .csv, .tsv, .jsonl, .json or .parquet"
    )  # fmt: skip
    parser.add_argument(
        "--label-at-least", type=float, metavar="X",
        help="of scored pairs, take those with such a score (default: 0.8 of the highest)"
    )  # fmt: skip
    _add_models(parser.add_argument_group("what embeds and judges"))
    _add_limits(parser.add_argument_group("which negatives are taken"))
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--as", dest="form", choices=("triplet", "n-tuple", "labelled-pair", "labelled-list"),
        default="triplet", help="a row per negative; a row per pair with all negatives; rows with "
        "label 1 or 0; or a list of documents with a list of labels"
    )  # fmt: skip
    group.add_argument("--scores", action="store_true", help="add the scores")
    add_json(group)


def _add_models(group: Any) -> None:
    group.add_argument(
        "--model", metavar="PATH_OR_ID", default=MODEL, help="folder or Hub id of the model"
    )
    group.add_argument(
        "--cross-encoder", metavar="PATH_OR_ID", help="CrossEncoder that scores candidates again, "
        "where a limit looks at scores"
    )  # fmt: skip
    group.add_argument(
        "--corpus", nargs="+", metavar="FILE", help="more documents to find negatives in, besides "
        "all positives; of tables the first text column"
    )  # fmt: skip
    group.add_argument("--device", metavar="D", help="where to compute, e.g. cuda:1")
    group.add_argument("--batch-size", type=at_least(1), metavar="N", help="texts per batch")


def _add_limits(group: Any) -> None:
    group.add_argument(
        "--count", type=at_least(1), metavar="N", default=3, help="negatives for each anchor"
    )
    group.add_argument(
        "--range-min", type=at_least(0), metavar="N", default=0,
        help="pass over the N nearest, which may be right answers"
    )  # fmt: skip
    group.add_argument("--range-max", type=at_least(1), metavar="N", help="last rank to look at")
    group.add_argument(
        "--relative-margin", type=float, metavar="X",
        help="how far below the anchor's lowest positive, as a part of its score; 0.05 is usual"
    )  # fmt: skip
    group.add_argument(
        "--absolute-margin", type=float, metavar="X", help="the same as a difference of scores"
    )
    group.add_argument("--max-score", type=float, metavar="X", help="highest score of a negative")
    group.add_argument("--min-score", type=float, metavar="X", help="lowest score of a negative")
    group.add_argument(
        "--sampling", dest="sampling_strategy", choices=("top", "random"), default="top",
        help="the nearest, or any of the range"
    )  # fmt: skip
    group.add_argument("--seed", type=int, default=12, help="for --sampling random")


def run(args: argparse.Namespace) -> int:
    """Mine, write, and say what was found; the status is 1 if that is nothing."""
    from sentune.data.write import check
    from sentune.machine.screen import quiet_bars
    from sentune.workbench import mine

    has_lists = args.scores or args.form == "labelled-list"
    check(args.output, has_lists=has_lists, sources=[*args.source, *(args.corpus or [])])
    data = rows(args)
    corpus = None
    if args.corpus:
        given = {"source": args.corpus, "split": "train", "data_format": None}
        corpus = rows(argparse.Namespace(**given))
    with quiet_bars():
        found = mine(
            data,
            args.model,
            output=args.output,
            label_at_least=args.label_at_least,
            corpus=corpus,
            cross_encoder=args.cross_encoder,
            count=args.count,
            format=args.form,
            has_scores=args.scores,
            seed=args.seed,
            loading={"device": args.device},
            batch_size=args.batch_size,
            **{name: getattr(args, name) for name in _LIMITS},
        )
    show(found, args)
    if not args.json:
        note(f"train with them: sentune train {args.output}")
    return int(not found.report.negatives)
