"""Search and mining beside the plain matrix product, which is the limit, and beside the peer.

    python benchmarks/speed_search.py [--rounds N] [--large] [--data FOLDER]

Everything runs in turn in one process, as many rounds as asked for; the figures are medians, in
seconds. One JSON object is printed; `speed.py` makes the table of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from quality import DATA, packaged_model
from speed_tasks import sentences, take

WIDTH = 384
BLOCK = 5000  # rows of a product that is measured instead of one too large for the memory

Job = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="100,000 vectors, too (minutes)")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", default=[""], help="names with one of these inside")
    args = parser.parse_args()
    out, sys.stdout = sys.stdout, sys.stderr
    groups = {
        "search": lambda: search(args.rounds),
        "pairs": lambda: pairs(args.rounds),
        "sentences": lambda: sentences_and_pairs(args.rounds, args.data),
    }
    if args.large:
        groups["many"] = many_pairs
    found = {name: run() for name, run in groups.items() if any(part in name for part in args.only)}
    out.write(json.dumps(found) + "\n")


def search(rounds: int) -> dict[str, float]:
    """1,000 queries, 100,000 vectors, top 10."""
    from sentence_transformers import util as peer

    from sentune.search import semantic_search

    queries, corpus = vectors(1000, 1), vectors(100_000, 0)
    return in_turn(
        rounds,
        {
            "product": lambda: queries @ corpus.T,
            "own": lambda: semantic_search(queries, corpus, top_k=10),
            "own float32": exact(lambda: semantic_search(queries, corpus, top_k=10)),
            "peer": lambda: peer.semantic_search(queries, corpus, top_k=10),
        },
    )


def pairs(rounds: int) -> dict[str, float]:
    """10,000 vectors: the most similar pairs, and all that paraphrase mining finds by default."""
    from sentence_transformers import util as peer

    from sentune.search import most_similar_pairs, paraphrase_mining_embeddings

    rows = vectors(10_000, 0)
    found = in_turn(
        rounds,
        {
            "product": lambda: rows @ rows.T,
            "own": lambda: most_similar_pairs(rows),
            "own float32": exact(lambda: most_similar_pairs(rows)),
            "own mining": lambda: paraphrase_mining_embeddings(rows),
            "own mining float32": exact(lambda: paraphrase_mining_embeddings(rows)),
            "peer": lambda: peer.paraphrase_mining_embeddings(rows),
        },
    )
    return {**found, "product": found["product"] / 2}  # (i, j) and (j, i) are one pair


def many_pairs() -> dict[str, float]:
    """100,000 vectors, once; the product by a part of it."""
    from sentune.search import most_similar_pairs

    rows = vectors(100_000, 0)
    out = torch.empty(BLOCK, len(rows))
    found = in_turn(
        1,
        {
            "product": lambda: torch.mm(rows[:BLOCK], rows.T, out=out),
            "own": lambda: most_similar_pairs(rows),
            "own float32": exact(lambda: most_similar_pairs(rows)),
        },
    )
    return {**found, "product": found["product"] * len(rows) / BLOCK / 2}


def sentences_and_pairs(rounds: int, data: Path) -> dict[str, float]:
    """10,000 sentences to their most similar pairs: the whole, and the mining of it."""
    import sentence_transformers as peer

    import sentune
    from sentune.search import most_similar_pairs

    texts = take(sentences(data), 10_000)
    model = sentune.SentenceTransformer(packaged_model())
    float32 = sentune.SentenceTransformer(packaged_model(), model_kwargs={"dtype": "float32"})
    other = peer.SentenceTransformer(packaged_model(), device="cpu")
    found = in_turn(
        rounds,
        {
            "own": lambda: most_similar_pairs(model.encode(texts)),
            "own float32": exact(lambda: most_similar_pairs(float32.encode(texts))),
            "peer": lambda: peer.util.paraphrase_mining(other, texts),
        },
    )
    embeddings = {"own": model.encode(texts), "own float32": float32.encode(texts)}
    mining = in_turn(
        rounds,
        {
            "own": lambda: most_similar_pairs(embeddings["own"]),
            "own float32": exact(lambda: most_similar_pairs(embeddings["own float32"])),
        },
    )
    return {**found, **{f"{name} mining": seconds for name, seconds in mining.items()}}


def vectors(count: int, seed: int) -> torch.Tensor:
    """Unit vectors in a few hundred clusters of uneven size, as embeddings of texts are."""
    random = torch.Generator().manual_seed(7)
    centers = torch.randn(300, WIDTH, generator=random)
    random.manual_seed(seed)
    places = (torch.rand(count, generator=random) ** 2 * len(centers)).long()
    rows = centers[places] + 1.5 * torch.randn(count, WIDTH, generator=random)
    return torch.nn.functional.normalize(rows)


def in_turn(rounds: int, jobs: dict[str, Job]) -> dict[str, float]:
    """The median seconds of each, after one run that does not count where there are several."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + (rounds > 1)):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            if turn or rounds == 1:
                times[name].append(time.perf_counter() - began)
    return {name: median(found) for name, found in times.items()}


def exact(job: Job) -> Job:
    """The same as on a chip that does not multiply bfloat16."""

    def run() -> Any:
        with _without_bfloat16():
            return job()

    return run


@contextmanager
def _without_bfloat16() -> Any:
    from sentune.search import tiles

    before = tiles.multiplies_bfloat16
    tiles.multiplies_bfloat16 = lambda kind: False
    try:
        yield
    finally:
        tiles.multiplies_bfloat16 = before


if __name__ == "__main__":
    main()
