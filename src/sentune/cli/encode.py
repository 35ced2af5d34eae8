"""`sentune encode`: encodes the texts of a file into a .npy file, one row per text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sentune.cli._arguments import STANDARD, add_source, at_least, rows

HELP = "encode the texts of a file into embeddings"

_PARTS = 10  # lines of progress, where there is no terminal
_PART = 256  # texts, at least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_source(parser)
    parser.add_argument(
        "output",
        help="file for the embeddings, a row per text (.npy); - for standard output",
    )
    parser.add_argument(
        "--model",
        metavar="PATH_OR_ID",
        default="sentence-transformers/all-MiniLM-L6-v2",
        help="folder or Hub id of the model",
    )
    parser.add_argument(
        "--column", metavar="NAME", help="column with the texts (default: the first text column)"
    )
    parser.add_argument("--prompt-name", metavar="NAME", help="prompt of the model, e.g. query")
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        metavar="N",
        help="texts per batch (default: chosen automatically, by tokens, for speed)",
    )
    parser.add_argument("--normalize", action="store_true", help="scale each embedding to length 1")


def run(args: argparse.Namespace) -> None:
    """Encode the texts and write the file."""
    import numpy as np

    from sentune.data.read import column
    from sentune.encoder.sentence_transformers import SentenceTransformer

    with ExitStack() as stack:
        file, name = _output(args.output, stack)  # raises before the work starts
        texts = column(rows(args), args.column)
        options = {
            "prompt_name": args.prompt_name,
            "batch_size": args.batch_size,
            "normalize_embeddings": args.normalize,
        }
        parts = list(_embeddings(SentenceTransformer(args.model), texts, options))
        embeddings = parts[0] if len(parts) == 1 else np.concatenate(parts)
        np.save(file, embeddings)
    found = f"{embeddings.shape[0]:,} embeddings of dimension {embeddings.shape[1]} in {name}"
    print(found, file=sys.stderr if args.output == STANDARD else sys.stdout, flush=True)


class _Pipe:
    """Standard output as numpy can write to it, which else asks a file where it is."""

    def write(self, content: bytes) -> None:
        """Write some bytes."""
        sys.stdout.buffer.write(content)


def _output(name: str, stack: ExitStack) -> tuple[Any, str]:
    """What can be written to, until the stack ends, and its name."""
    from sentune.disk import files
    from sentune.errors import MissingFolderError, SettingError

    if name == STANDARD:
        if not hasattr(sys.stdout, "buffer") or sys.stdout.isatty():
            raise SettingError("embeddings are no text to show; redirect the output: - > file.npy")
        return _Pipe(), "standard output"
    path = Path(name if name.endswith(".npy") else f"{name}.npy")
    if not path.parent.is_dir():
        raise MissingFolderError(
            f"the folder {path.parent} does not exist; create it, or choose another path"
        )
    try:
        return stack.enter_context(files.opened(path, through_links=True)), str(path)
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror or error}") from error


def _embeddings(model: Any, texts: list[str], options: dict[str, Any]) -> Iterator[Any]:
    """The embeddings in parts; progress is a bar on a terminal, else a line for each part."""
    from sentune.machine.screen import Progress

    is_shown = sys.stderr.isatty()
    size = len(texts) if is_shown else max(_PART, -(-len(texts) // _PARTS))
    progress = None if is_shown else Progress("Encoding", len(texts), "texts", sys.stderr)
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        yield model.encode(part, show_progress_bar=is_shown, **options)
        if progress is not None:
            progress.show(start + len(part))
