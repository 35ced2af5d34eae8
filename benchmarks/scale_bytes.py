"""What a text takes: tokens, time, bytes in a shard in each precision, and time in a search.

    python benchmarks/scale_bytes.py [--data FOLDER]

The figures of docs/scale.md. Encodes short sentences and documents with all-MiniLM-L6-v2 to
Parquet, files read and written, on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PRECISIONS = ("float32", "float16", "int8", "ubinary")
COUNTS = {"short sentences": 5_000, "documents": 1_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("nowhere"), help="of the STS benchmark")
    args = parser.parse_args()
    for line in lines(args.data):
        print(line, flush=True)


def lines(data: Path) -> Iterator[str]:
    from quality import packaged_model
    from scale import chip
    from speed_tasks import documents, sentences, take

    from sentune import SentenceTransformer

    model = SentenceTransformer(packaged_model(), device="cpu")
    dtype = model.autocast_dtype or model.dtype
    yield f"all-MiniLM-L6-v2, {dtype}, {chip()}, {os.cpu_count()} cores"
    texts = {"short sentences": sentences(data), "documents": documents(data)}
    for name, count in COUNTS.items():
        with TemporaryDirectory() as folder:
            yield row(name, measured(model, take(texts[name], count), Path(folder)))
    yield search_row()


def measured(model: Any, texts: list[str], folder: Path) -> dict[str, Any]:
    from sentune import bulk

    rows = [json.dumps({"id": n, "text": text}) for n, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    found: dict[str, Any] = {
        "tokens": sum(map(len, model.tokenizer(texts)["input_ids"])) / len(texts),
        "characters": sum(map(len, texts)) / len(texts),
    }
    for precision in PRECISIONS:
        out = folder / precision
        begun = time.perf_counter()
        bulk.encode_corpus(folder / "corpus.jsonl", model, out, precision=precision)
        found.setdefault("rate", len(texts) / (time.perf_counter() - begun))
        found[precision] = shares(out / "shard-00000.parquet", len(texts))
    return found


def shares(path: Path, rows: int) -> tuple[float, float]:
    """Bytes of a row in a Parquet file: the vector, and all else."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    vectors = sum(
        about.row_group(group).column(about.num_columns - 1).total_compressed_size
        for group in range(about.num_row_groups)
    )
    return vectors / rows, (path.stat().st_size - vectors) / rows


def row(name: str, found: dict[str, Any]) -> str:
    sizes = ", ".join(f"{precision} {found[precision][0]:.0f}" for precision in PRECISIONS)
    return (
        f"{name}: {found['tokens']:.1f} tokens, {found['characters']:.0f} characters on average; "
        f"{found['rate']:,.0f} texts/s from file to file; bytes of a vector: {sizes}; "
        f"of id and text: {found['float32'][1]:.0f}"
    )


def search_row() -> str:
    """The limits of a search: a product with many queries, which multiplies, and with one, which
    reads.
    """
    import torch

    vectors, queries = torch.randn(200_000, 384), torch.randn(200, 384)
    many = min(timed(lambda: queries @ vectors.T) for _ in range(7))
    one = min(timed(lambda: vectors @ queries[0]) for _ in range(15))
    return (
        f"search in float32, d=384: {2 * queries.numel() * len(vectors) / many / 1e9:.0f} GFLOP/s "
        f"with many queries; {4 * vectors.numel() / one / 1e9:.1f} GB/s with one"
    )


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
