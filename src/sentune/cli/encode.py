"""`sentune encode`: encodes the texts of a file into a .npy file, one row per text."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "encode the texts of a file into embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source", help="csv, tsv, json, jsonl, parquet, arrow or txt file, or Hub id of a dataset"
    )
    parser.add_argument("output", type=Path, help="file for the embeddings, a row per text (.npy)")
    parser.add_argument(
        "--model",
        metavar="PATH_OR_ID",
        default="sentence-transformers/all-MiniLM-L6-v2",
        help="folder or Hub id of the model",
    )
    parser.add_argument("--split", default="train", help="split to read, if there are several")
    parser.add_argument(
        "--column", metavar="NAME", help="column with the texts (default: the first text column)"
    )
    parser.add_argument("--prompt-name", metavar="NAME", help="prompt of the model, e.g. query")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="texts per batch (default: chosen automatically, by tokens, for speed)",
    )
    parser.add_argument("--normalize", action="store_true", help="scale each embedding to length 1")


def run(args: argparse.Namespace) -> None:
    """Encode the texts and write the file."""
    import numpy as np

    from sentune.data.read import column, read
    from sentune.disk import files
    from sentune.encoder.sentence_transformers import SentenceTransformer
    from sentune.errors import SettingError
    from sentune.machine.screen import quiet_bars, say

    if not args.output.parent.is_dir():
        raise SettingError(
            f"the folder {args.output.parent} does not exist; create it, or choose another path"
        )
    with quiet_bars():
        texts = column(read(args.source, split=args.split), args.column)
    model = SentenceTransformer(args.model)
    path = args.output if args.output.suffix == ".npy" else Path(f"{args.output}.npy")
    try:
        with files.opened(path, through_links=True) as file:  # raises before the work starts
            embeddings = model.encode(
                texts,
                prompt_name=args.prompt_name,
                batch_size=args.batch_size,
                normalize_embeddings=args.normalize,
                show_progress_bar=None,
            )
            np.save(file, embeddings)
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror or error}") from error
    say(f"{embeddings.shape[0]:,} embeddings of dimension {embeddings.shape[1]} in {path}")
