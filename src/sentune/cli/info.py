"""`sentune info`: what a model is, from its files."""

from __future__ import annotations

import argparse

from sentune.cli._output import add_json, show

HELP = "show what a model is: modules, sizes, limits, origin, and whether it runs packed"
DESCRIPTION = (
    "Show what a model is, from its files: modules, number and type of the weights, width of the "
    "embeddings, most tokens of a text, prompts, similarity, which version wrote it, what it was "
    "trained on, and whether texts of different lengths run side by side without padding. Weights "
    "are not loaded, so it is quick for a model of any size. Works for CrossEncoders too."
)
EXAMPLES = """
sentune info all-MiniLM-L6-v2
sentune info my-model
sentune info cross-encoder/ms-marco-MiniLM-L6-v2 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", help="folder or Hub id of the model")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Print it."""
    from sentune.machine.screen import quiet_libraries
    from sentune.workbench import info

    with quiet_libraries():
        found = info(args.model, revision=args.revision)
    show(found, args)
