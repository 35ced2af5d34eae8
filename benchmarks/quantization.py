"""Recall, memory and speed of embeddings in fewer bits and dimensions: one table.

    python benchmarks/quantization.py [--data FOLDER] [--model FOLDER] [--rounds N]

Two corpora: the documentation of this Python, where the first sentence of a docstring should find
the rest of it, and the STS benchmark, where a sentence should find the one that people say means
the same. The table goes to the screen and, with the text of `quantization.md.in`, to
docs/quantization.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import DATA, packaged_model
from speed import machine

from sentune import SentenceTransformer, quantize_embeddings
from sentune.demo import pydocs
from sentune.quantization import semantic_search_quantized
from sentune.util import normalize_embeddings

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "quantization.md"
TOP = 10
MULTIPLIER = 4  # of rescoring
MOST_QUERIES = 1_000
SAME = 0.8  # score from which on two sentences mean the same
DIMENSIONS = (384, 256, 128, 64)
PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
TIMED_ROWS = 100_000


@dataclass(frozen=True)
class Corpus:
    """Embeddings, and for each query the entry that it should find."""

    name: str
    queries: np.ndarray  # (q, d)
    entries: np.ndarray  # (c, d)
    wanted: np.ndarray  # (q,)
    own: np.ndarray  # (q,) an entry that is the query itself, or -1


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    precision: str
    dimension: int
    multiplier: int = 0  # of rescoring; 0 for none

    @property
    def bytes_per_text(self) -> int:
        """What the corpus takes."""
        size = {"float32": 4.0, "int8": 1, "uint8": 1}.get(self.precision, 1 / 8)
        return int(np.ceil(self.dimension * size))


def main() -> None:
    args = arguments()
    model = SentenceTransformer(args.model or packaged_model())
    corpora = kept(
        args.vectors, lambda: [docs(model, args.texts), sts(model, args.data, args.texts)]
    )
    truth = {corpus.name: found(corpus, Kind("float32", DIMENSIONS[0])) for corpus in corpora}
    table = [HEAD]
    print(HEAD)
    for kind in kinds():
        recalls = [recall(corpus, kind, truth[corpus.name]) for corpus in corpora]
        seconds = timed(corpora[0], kind, args.rows, args.rounds)
        table.append(line(kind, recalls, seconds))
        print(table[-1], flush=True)
    text = (HERE / "quantization.md.in").read_text(encoding="utf-8")
    about = machine()
    facts = {
        "table": "\n".join(table),
        "machine": f"{about['name']}, torch {torch.__version__}",
        "docs": f"{len(corpora[0].entries):,}",
        "sentences": f"{len(corpora[1].entries):,}",
        "questions": " and ".join(f"{len(corpus.queries):,}" for corpus in corpora),
    }
    for name, value in facts.items():
        text = text.replace("{" + name + "}", value)
    args.table.write_text(text, encoding="utf-8")
    print(f"\nThe table is in {args.table}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the STS benchmark")
    parser.add_argument("--model", default=None, help="folder or hub id; all-MiniLM-L6-v2")
    parser.add_argument("--table", type=Path, default=TABLE, help="where the table is written")
    parser.add_argument("--vectors", type=Path, help=".npz to keep the embeddings in")
    parser.add_argument("--texts", type=int, default=None, help="of each corpus; all by default")
    parser.add_argument("--rows", type=int, default=TIMED_ROWS, help="entries that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="runs, of which the fastest counts")
    return parser.parse_args()


def kinds() -> Iterator[Kind]:
    """The rows of the table."""
    for dimension in DIMENSIONS:
        for precision in PRECISIONS:
            yield Kind(precision, dimension)
            if precision != "float32":
                yield Kind(precision, dimension, MULTIPLIER)


# Corpora ------------------------------------------------------------------------------------------


def kept(path: Path | None, make: Callable[[], list[Corpus]]) -> list[Corpus]:
    """The corpora, from a file if they are there."""
    if path is None or not path.exists():
        made = make()
        if path is not None:
            fields = {f"{i} {k}": v for i, one in enumerate(made) for k, v in vars(one).items()}
            np.savez(path, **fields)
        return made
    with np.load(path) as file:
        names = ("queries", "entries", "wanted", "own")
        arrays = ([file[f"{i} {name}"] for name in names] for i in range(2))
        return [Corpus(str(file[f"{i} name"]), *four) for i, four in enumerate(arrays)]


def docs(model: Any, texts: int | None) -> Corpus:
    """The documentation of this Python: what a function does, and its name with the rest."""
    entries = pydocs.distinct(pydocs.entries())[:texts]
    documents = model.encode([entry.document for entry in entries], show_progress_bar=True)
    places = np.array([entries.index(entry) for entry in pydocs.sample(entries, MOST_QUERIES)])
    queries = model.encode([entries[place].query for place in places], show_progress_bar=True)
    return Corpus("Python docs", queries, documents, places, np.full(len(places), -1))


def sts(model: Any, folder: Path, texts: int | None) -> Corpus:
    """All sentences of the STS benchmark; the queries are one side of the pairs that match."""
    rows: list[dict[str, str]] = []
    for name in ("stsb-train.csv", "stsb-dev.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file))[:texts]
    sentences = list(dict.fromkeys(row[side] for row in rows for side in SIDES))
    place = {text: number for number, text in enumerate(sentences)}
    pairs = [
        (place[row[SIDES[0]]], place[row[SIDES[1]]])
        for row in rows
        if float(row["score"]) >= SAME and row[SIDES[0]] != row[SIDES[1]]
    ]
    own, wanted = (np.array(side) for side in zip(*pairs[:MOST_QUERIES], strict=True))
    vectors = model.encode(sentences, show_progress_bar=True)
    return Corpus("STS", vectors[own], vectors, wanted, own)


SIDES = ("sentence1", "sentence2")

# Figures ------------------------------------------------------------------------------------------


def found(corpus: Corpus, kind: Kind) -> np.ndarray:
    """The nearest entries of each query but the query itself, `(q, TOP)`."""
    hits = search(corpus.queries, corpus.entries, kind, TOP + 1)()
    nearest = np.array([[hit["corpus_id"] for hit in row] for row in hits])
    # A stable sort moves the query itself to the end; the last goes where it is not found.
    is_own = nearest == corpus.own[:, None]
    order = np.argsort(is_own, axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)[:, :TOP]


def search(queries: np.ndarray, entries: np.ndarray, kind: Kind, top: int) -> Callable[[], Any]:
    """A search that is ready to run, for its hits."""
    queries, entries = (
        np.asarray(normalize_embeddings(side[:, : kind.dimension])) for side in (queries, entries)
    )
    ranges = np.stack([entries.min(axis=0), entries.max(axis=0)])
    ranges = ranges if kind.precision in ("int8", "uint8") else None
    codes = quantize_embeddings(entries, kind.precision, ranges)
    options = {
        "corpus_precision": kind.precision,
        "top_k": top,
        "ranges": ranges,
        "rescore": kind.multiplier > 0,
        "rescore_multiplier": kind.multiplier or 1,
    }
    return lambda: semantic_search_quantized(queries, codes, **options)[0]


def recall(corpus: Corpus, kind: Kind, truth: np.ndarray) -> tuple[float, float]:
    """How many queries find what they should, and how much of what full embeddings find."""
    nearest = found(corpus, kind)
    right = (nearest == corpus.wanted[:, None]).any(axis=1).mean()
    shared = [len(np.intersect1d(*both)) / TOP for both in zip(nearest, truth, strict=True)]
    return float(right), float(np.mean(shared))


def timed(corpus: Corpus, kind: Kind, rows: int, rounds: int) -> float:
    """Seconds of one core for all queries in a larger corpus: the same vectors with some noise.

    Time of the process, so that others on the same machine change little.
    """
    random = np.random.default_rng(0)
    entries = corpus.entries[np.arange(rows) % len(corpus.entries)]
    entries = entries + random.normal(scale=0.01, size=entries.shape).astype(np.float32)
    run = search(corpus.queries, entries, kind, TOP)
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    torch.set_num_threads(threads)
    return min(times)


# The table ----------------------------------------------------------------------------------------

HEAD = (
    "| precision | dimensions | bytes a text | scored again | Python docs: right | as float32 | "
    "STS: right | as float32 | seconds |\n|---|---|---|---|---|---|---|---|---|"
)


def line(kind: Kind, recalls: Sequence[tuple[float, float]], seconds: float) -> str:
    """One row."""
    shares = [f"{share:.1%}" for both in recalls for share in both]
    again = "yes" if kind.multiplier else ""
    cells = [kind.precision, kind.dimension, f"{kind.bytes_per_text:,}", again, *shares]
    return "| " + " | ".join(map(str, [*cells, f"{seconds:.2f}"])) + " |"


if __name__ == "__main__":
    main()
