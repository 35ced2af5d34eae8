"""`sentune index`: puts the texts of files into an index, to be searched with `sentune search`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from sentune.cli._arguments import MODEL, at_least
from sentune.cli._indexing import add_columns, building, documents

HELP = "put the texts of files into an index that can be searched"
DESCRIPTION = (
    "Read documents, split long ones into chunks that the model can read, encode them, and keep "
    "texts and embeddings in a folder that `sentune search` answers from, by meaning and by words."
)
EXAMPLES = """
sentune index documents/ -o documents.index
sentune index products.csv -o products.index --text description --id sku
sentune index more/ -o documents.index --add
"""

_OF_A_BUILD = ("chunk_tokens", "chunk_overlap", "language", "exact_below")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "corpus",
        help="folder or file: text files (md, rst, txt in a folder ...) are one document each, "
        "tables (csv, tsv, json, jsonl, parquet, arrow) have one per row, a txt file one per line",
    )
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder of the index")
    parser.add_argument(
        "--model", metavar="PATH_OR_ID", help=f"model (default: {MODEL}; of an index, its own)"
    )
    add_columns(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--add",
        action="store_true",
        help="add to the index that is there; files that are in it already, and documents of the "
        "same id, are replaced",
    )
    way.add_argument("--overwrite", action="store_true", help="replace the index that is there")
    parser.add_argument(
        "--chunk-tokens",
        type=at_least(1),
        metavar="N",
        help="most tokens of a chunk of a document (default: as many as the model reads)",
    )
    parser.add_argument(
        "--chunk-overlap",
        type=at_least(0),
        metavar="N",
        help="most tokens that a chunk shares with the one before (default: an eighth)",
    )
    parser.add_argument(
        "--language", help="of the texts, for stems and stop words (default: English); or none"
    )
    parser.add_argument(
        "--exact-below",
        type=at_least(1),
        metavar="N",
        help="search approximately from so many chunks on (default: 100,000)",
    )


def run(args: argparse.Namespace) -> None:
    """Build the index, or add to it."""
    from sentune.index.index import Index
    from sentune.machine.screen import say

    _check(args)
    index = Index.open(args.output, args.model) if args.add else None
    given = documents(args.corpus, args)
    replaced = 0
    with building(given.total) as report:
        if index is not None:
            replaced = index.replace(given, on_progress=report)
        else:
            index = Index.build(args.output, given, args.model or MODEL, **_options(args, report))
    place = Path(args.output)
    rows = f", as {index.rows:,} chunks" if index.rows != len(index) else ""
    say(f"{_documents(len(index))} in {place}{rows}")
    if replaced:
        say(f"{_documents(replaced)} replaced, of those that were there before")
    say(f'Search them: sentune search {shlex.quote(str(place))} "some words"')


def _documents(count: int) -> str:
    return "1 document is" if count == 1 else f"{count:,} documents are"


def _check(args: argparse.Namespace) -> None:
    """Refuse what an index has been built with once, where it is added to."""
    from sentune.errors import SettingError

    given = [name for name in _OF_A_BUILD if getattr(args, name) is not None]
    if args.add and given:
        option = "--" + given[0].replace("_", "-")
        raise SettingError(
            f"{option} is set when an index is built; leave it out, or build anew with --overwrite"
        )


def _options(args: argparse.Namespace, report: Any) -> dict[str, Any]:
    language = args.language or "English"
    limit = {} if args.exact_below is None else {"exact_below": args.exact_below}
    return {
        "chunk_tokens": args.chunk_tokens,
        "chunk_overlap": args.chunk_overlap,
        "language": None if language.lower() == "none" else language,
        "overwrite": args.overwrite,
        "on_progress": report,
        **limit,
    }
