"""`sentune train`: a better model from a file of text, or the start and the reason."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sentune.cli._arguments import add_source
from sentune.cli._output import add_json, show

HELP = "train a model on a file of text, without choosing losses or settings"
DESCRIPTION = (
    "Train a model on rows of text. Rows are held out; losses that fit the form of the data are "
    "tried under a budget; the weights of the best are mixed with those of the start, so that the "
    "model keeps what it knew; and the result is kept only if it is better on held-out rows by "
    "more than chance. Otherwise the folder has the start, and the report says why. Every option "
    "fixes what would be chosen. Files of different forms are trained on together, and the mean of "
    "their figures counts. The folder gets the model, report.html, run.json, and run.yaml, "
    "from which the same model comes out again. --push uploads the model and its card, and nothing "
    "else of the folder. Ctrl-C leaves the best so far; --resume goes on."
)
EXAMPLES = """
sentune train questions.csv --output my-model
sentune train pairs.jsonl --columns anchor=query,positive=doc --budget 10m
sentune train scores.csv --label similarity --test held-out.csv --loss CosineSimilarityLoss
sentune train questions.csv pairs.csv --output my-model    # two forms: each gets a loss of its own
sentune train --config my-model/run.yaml --output again     # the same model, without a race
sentune train --output my-model --resume                    # after Ctrl-C or a crash
"""
_GROUPS = {
    "what": "what is trained, and how much may be spent",
    "fix": "fix what would be chosen",
    "after": "what becomes of the model",
}
# What `add_source` declares.
_OF_THE_SOURCE = ("split", "columns", "label", "skip_bad_rows", "data_format", "encoding")
_METAVARS = {
    "whole": "N",
    "number": "X",
    "mapping": "JSON",
    "names": "NEW=OLD,...",
    "list": "N,N,...",
    "mappings": "JSON",
    "words": "NAME,...",
    "text": "NAME",
}
_METAVARS_OF = {
    "model": "PATH_OR_ID",
    "output": "DIR",
    "dev": "FILE",
    "test": "FILE",
    "budget": "TIME",
    "device": "D",
    "push": "OWNER/NAME",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of `Settings`, and what is about this run alone."""
    from dataclasses import fields

    from sentune.workbench.settings import Settings

    add_source(parser)
    source = next(one for one in parser._actions if one.dest == "source")
    source.nargs = "*"
    parser.add_argument("--config", metavar="FILE", help="run.yaml with options, of a run or yours")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run in --output"
    )
    add_json(parser)
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    for one in fields(Settings):
        if one.name in _OF_THE_SOURCE:
            continue
        said = one.metadata["help"]
        if one.metadata["kind"] == "flag":
            groups[one.metadata["group"]].add_argument(
                f"--{one.name.replace('_', '-')}", action="store_true", default=None, help=said
            )
            continue
        is_plain = one.default is None or "default" in said
        groups[one.metadata["group"]].add_argument(
            f"--{one.name.replace('_', '-')}",
            metavar=_METAVARS_OF.get(one.name, _METAVARS[one.metadata["kind"]]),
            help=said if is_plain else f"{said} (default: {one.default})",
        )


def run(args: argparse.Namespace) -> None:
    """Train, and print what came out of it."""
    from dataclasses import fields

    from sentune.workbench import train
    from sentune.workbench.settings import Settings

    given = {one.name: getattr(args, one.name) for one in fields(Settings)}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.get("split") == Settings.split:  # argparse's default: the run file's counts more
        del options["split"]
    source = args.source[0] if len(args.source) == 1 else args.source
    result = train(
        source or None, config=args.config, resume=args.resume, progress=sys.stderr, **options
    )
    show(result, args)
