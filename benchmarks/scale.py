"""A million short sentences through a small static model: rows a second, and memory.

    python benchmarks/scale.py [--rows N] [--keep FOLDER]

Writes a corpus of JSON lines, has `sentune.bulk.encode_corpus` make Parquet shards of it in a
process of its own, and prints a row: how fast, and the most memory that the process held. The goal
is below 1 GB, however many rows there are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROWS = 1_000_000
WIDTH = 256
GOAL_MB = 1000
_WORD = re.compile(r"[A-Za-z]{2,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--keep", type=Path, help="folder to keep corpus and shards in")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(*map(Path, args.inside))
        return
    with TemporaryDirectory() as folder:
        place = args.keep or Path(folder)
        place.mkdir(exist_ok=True, parents=True)
        print(row(measured(place, args.rows)))


def measured(folder: Path, rows: int) -> dict[str, Any]:
    """What the job takes, in a process of its own."""
    corpus = folder / "corpus.jsonl"
    write(corpus, rows)
    command = [sys.executable, __file__, "--inside", str(corpus), str(folder / "shards")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in (folder / "shards").iterdir())
    return {**found, "corpus_mb": corpus.stat().st_size / 1e6, "shards_mb": size / 1e6}


def row(found: dict[str, Any]) -> str:
    """The line of the table."""
    verdict = "ok" if found["memory_mb"] < GOAL_MB else f"goal: {GOAL_MB} MB"
    return (
        f"encode {found['rows']:,} short sentences, static model d={WIDTH}, to Parquet: "
        f"{found['rows'] / found['seconds']:,.0f} rows/s ({found['seconds']:.0f} s, of which "
        f"{found['scan_s']:.0f} s to look over the corpus), {found['memory_mb']:,.0f} MB resident "
        f"({verdict}), {found['shards_mb']:,.0f} MB of shards from {found['corpus_mb']:,.0f} MB of "
        f"text, on {chip()}, {os.cpu_count()} cores"
    )


def inside(corpus: Path, output: Path) -> None:
    """The job itself; prints what it took."""
    from sentune import bulk
    from sentune.data.corpus import Corpus

    begun = time.perf_counter()
    Corpus.open(corpus)
    scan = time.perf_counter() - begun
    begun = time.perf_counter()
    summary = bulk.encode_corpus(corpus, model(), output)
    seconds = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory_mb = memory / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)
    assert not summary.missing and not summary.failed
    found = {"rows": summary.rows, "seconds": seconds, "scan_s": scan, "memory_mb": memory_mb}
    print(json.dumps(found))


def model() -> Any:
    """A static model as people distil them: the vocabulary of BERT, random vectors."""
    import torch
    from tokenizers import Tokenizer

    from sentune import SentenceTransformer, models

    torch.manual_seed(0)
    words = Tokenizer.from_file(str(tokenizer_file()))
    table = torch.randn(words.get_vocab_size(), WIDTH)
    module = models.StaticEmbedding(words, embedding_weights=table)
    return SentenceTransformer(modules=[module], device="cpu")


def tokenizer_file() -> Path:
    from quality import packaged_model

    return Path(packaged_model()) / "tokenizer.json"


def write(path: Path, rows: int) -> None:
    """Sentences of 4 to 16 words out of this Python's documentation, no two alike."""
    from speed_tasks import pairs

    texts = pairs(path.parent)["document"]
    words = sorted({word for text in texts for word in _WORD.findall(text)})
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(rows):
            text = " ".join(rng.choices(words, k=rng.randint(4, 16)))
            file.write(json.dumps({"id": number, "text": text, "topic": number % 17}) + "\n")


def chip() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor() or platform.machine()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


if __name__ == "__main__":
    main()
