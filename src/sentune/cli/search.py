"""`sentune search`: finds the texts of an index, a file or a folder that answer some words."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentune.cli._arguments import MODEL, at_least
from sentune.cli._indexing import add_columns, building, documents
from sentune.cli._output import as_json

HELP = "search the texts of an index, a file or a folder"
DESCRIPTION = (
    "Find the texts that answer some words, by meaning, by the words themselves, or by both. An "
    "index made by `sentune index` answers at once; a file or folder of texts is encoded first. "
    "The exit status is 1 if nothing is found."
)
EXAMPLES = """
sentune search documents.index "how do I get my money back"
sentune search faq.csv "opening hours" --text answer -k 3
sentune search documents.index refund --mode text --filter "year >= 2020" --json
"""
NOTHING_FOUND = 1

_LINES = 3  # of a text that are shown
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_PLAIN_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "where",
        help="an index made by `sentune index`; or a folder or file of texts, which is read and "
        "encoded first, each time",
    )
    parser.add_argument("words", nargs="+", help="what to search for")
    parser.add_argument(
        "--model",
        metavar="PATH_OR_ID",
        help=f"model (default: that of the index; for files {MODEL})",
    )
    add_columns(parser)
    parser.add_argument(
        "-k", "--top-k", type=at_least(1), metavar="N", default=5, help="documents to find"
    )
    parser.add_argument(
        "--mode",
        choices=("hybrid", "vector", "text"),
        default="hybrid",
        help="by meaning (vector), by words (text, which loads no model), or by both",
    )
    parser.add_argument(
        "--filter", metavar="SQL", help='condition on the columns, as "year >= 2020"'
    )
    parser.add_argument(
        "--rerank", metavar="PATH_OR_ID", help="CrossEncoder that scores the best 100 again"
    )
    parser.add_argument(
        "--exact", action="store_true", help="compare with all vectors of a large index"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object per document")


def run(args: argparse.Namespace) -> int:
    """Search, and print what was found; the status is 1 if that is nothing."""
    from sentune.errors import SettingError

    words = " ".join(args.words)
    if not words.strip():
        raise SettingError("there is nothing to search for; give some words")
    if args.mode == "text" and (args.exact or args.model is not None):
        option = "--exact" if args.exact else "--model"
        raise SettingError(
            f"{option} is about vectors, which --mode text does not look at; leave it out, or "
            "search with --mode vector or hybrid"
        )
    with ExitStack() as stack:
        index = _index(args, stack)
        hits = index.search(
            words,
            args.top_k,
            mode=args.mode,
            filter=args.filter,
            reranker=args.rerank,
            exact=args.exact,
        )
    if args.json:
        for hit in hits:
            print(as_json(_as_json(hit), indent=None), flush=True)
    elif hits:
        print("\n".join(_shown(hits, words, args)), flush=True)
    else:
        print("nothing found", file=sys.stderr)
    return 0 if hits else NOTHING_FOUND


def _index(args: argparse.Namespace, stack: ExitStack) -> Any:
    """The index that is named, or one of the files, which lasts as long as the stack."""
    from sentune.errors import SettingError
    from sentune.index.index import Index
    from sentune.index.place import is_index

    where = Path(args.where).expanduser()
    if is_index(where):
        if args.text is not None or args.id is not None:
            raise SettingError(
                f"--text and --id are for files, and {where} is an index, whose columns are set"
            )
        return Index.open(where, args.model)
    given = documents(args.where, args)
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="sentune-search-")), "index")
    with building(given.total) as report:
        if args.mode == "text":  # nothing looks at the vectors
            import numpy as np

            none = np.zeros((given.total or 0, 1), np.float32)
            return Index.build(folder, given, embeddings=none, on_progress=report)
        return Index.build(folder, given, args.model or MODEL, on_progress=report)


def _as_json(hit: Any) -> dict[str, Any]:
    return {
        "id": hit.id,
        "score": hit.score,
        "scores": hit.scores,
        "text": hit.text,
        "start": hit.start,
        "end": hit.end,
        "metadata": hit.metadata,
    }


def _shown(hits: Sequence[Any], words: str, args: argparse.Namespace) -> Iterator[str]:
    """Lines for a person: score and name of each document, and what it says."""
    is_terminal = sys.stdout.isatty()
    width = min(_PLAIN_WIDTH, shutil.get_terminal_size().columns) if is_terminal else _PLAIN_WIDTH
    bold, usual = ("\033[1m", "\033[0m") if is_terminal else ("", "")
    for number, hit in enumerate(hits, start=1):
        if number > 1:
            yield ""
        yield f"{number:2d}  {bold}{_name(hit)}{usual}  ({_score(hit, args)})"
        lines = textwrap.wrap(_excerpt(hit.text, words), width - 4)
        if len(lines) > _LINES:
            lines = [
                *lines[: _LINES - 1],
                textwrap.shorten(" ".join(lines[_LINES - 1 :]), width - 4, placeholder=" ..."),
            ]
        yield from (f"    {line}" for line in lines)


def _score(hit: Any, args: argparse.Namespace) -> str:
    """What the place of a document comes from: one score, or that of each ranking it is in."""
    if args.rerank is not None:
        return f"score {hit.score:.3f}"
    names = {"vector": "meaning", "text": "words"}
    return ", ".join(f"{names[kind]} {score:.3f}" for kind, score in hit.scores.items())


def _name(hit: Any) -> str:
    """The title of a document, if it has one, and its id."""
    title = next((hit.metadata[key] for key in ("title", "Title") if hit.metadata.get(key)), None)
    return hit.id if title is None else f"{title} ({hit.id})"


def _excerpt(text: str, words: str) -> str:
    """The text from the sentence on that has the most of the words."""
    wanted = {word.lower() for word in _WORD.findall(words) if len(word) > 2}
    sentences = [part for part in _SENTENCE.split(text) if part.strip()]
    shared = [
        sum(any(word.startswith(one) for word in _WORD.findall(part.lower())) for one in wanted)
        for part in sentences
    ]
    first = shared.index(max(shared)) if any(shared) else 0
    return ("... " if first else "") + " ".join(" ".join(sentences[first:]).split())
