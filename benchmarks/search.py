"""Quality and speed of `sentune.Index`: the tables of docs/search.md.

    python benchmarks/search.py [--only quality recall] [--rows 100000 1000000] [--model FOLDER]

Quality: the documentation inside this Python's standard library (`sentune.demo.pydocs`), searched
with the first paragraph of 600 held-out docstrings; the right document is the rest of the same one.

Recall: embeddings of 16,000 sentences from the docstrings of installed packages, asked with 100
others. Rows above their number are copies with noise, at a cosine of 0.8 to the original. The
approximate search is compared with the exact one.
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import platform
import re
import resource
import site
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

import numpy as np

from sentune import Index, SentenceTransformer
from sentune.demo import pydocs, steps
from sentune.machine.screen import Progress, table

PROBES = (None, 5, 20, 50, 100)
QUERIES = 100
EXACT_QUERIES = 20
SENTENCES = 16_000
NOISE_COSINE = 0.8
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def main() -> None:
    args = arguments()
    print(machine())
    model = SentenceTransformer(args.model)
    with TemporaryDirectory(dir=args.folder) as folder:
        if "quality" in args.only:
            quality(model, Path(folder))
        if "recall" in args.only:
            recall(model, Path(folder), args.rows, args.embeddings)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=("quality", "recall"), default=("quality", "recall")
    )
    parser.add_argument("--rows", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--model", default=steps.default_model())
    parser.add_argument(
        "--embeddings", metavar="NAME", help="keep the sentences and theirs in NAME.txt, NAME.npy"
    )
    parser.add_argument("--folder", help="where indexes are made, a fast disk")
    return parser.parse_args()


def machine() -> str:
    names = [line.partition(":")[2].strip() for line in cpu_lines("model name")]
    kind = names[0] if names else platform.processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    versions = f"lancedb {version('lancedb')}, Python {platform.python_version()}"
    return f"{kind}, {cores} cores{load}; {versions}"


def cpu_lines(name: str) -> list[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith(name)]


# Quality ----------------------------------------------------------------------------------------


def quality(model: SentenceTransformer, folder: Path) -> None:
    entries = pydocs.distinct(pydocs.entries())
    held_out = pydocs.split(entries)[1]
    names = {entry: str(number) for number, entry in enumerate(entries)}
    start = time.perf_counter()
    documents = {names[entry]: entry.document for entry in entries}
    index = Index.build(folder / "docs", documents, model)
    seconds = time.perf_counter() - start
    print(
        f"\n{len(index):,} documents in {index.rows:,} chunks, indexed in {seconds:.0f} s; "
        f"{len(held_out)} queries"
    )
    vectors = model.encode_query([entry.query for entry in held_out])
    rows = []
    for mode in ("vector", "text", "hybrid"):
        ranks, times = [], []
        for entry, vector in zip(held_out, vectors, strict=True):
            start = time.perf_counter()
            hits = index.search(entry.query, 10, mode=mode, embedding=vector)
            times.append(time.perf_counter() - start)
            ids = [hit.id for hit in hits]
            ranks.append(ids.index(names[entry]) + 1 if names[entry] in ids else None)
        rows.append(
            [mode, *(f"{value:.3f}" for value in metrics(ranks)), f"{1000 * median(times):.0f} ms"]
        )
    print(table(["search", "nDCG@10", "MRR@10", "hit@1", "hit@10", "time"], rows))


def metrics(ranks: list[int | None]) -> tuple[float, float, float, float]:
    """With one right document for a query, nDCG is 1 / log2(rank + 1)."""
    found = [rank for rank in ranks if rank is not None]
    ndcg = sum(1 / math.log2(rank + 1) for rank in found) / len(ranks)
    mrr = sum(1 / rank for rank in found) / len(ranks)
    return ndcg, mrr, found.count(1) / len(ranks), len(found) / len(ranks)


# Recall -----------------------------------------------------------------------------------------


def recall(model: SentenceTransformer, folder: Path, counts: list[int], kept: str | None) -> None:
    texts, vectors = encoded(model) if kept is None else reused(model, Path(kept))
    print(f"\n{len(texts):,} sentences of docstrings")
    random = np.random.default_rng(0)
    order = random.permutation(len(texts))
    asked, known = vectors[order[:QUERIES]], vectors[order[QUERIES:]]
    words = [texts[number] for number in order[QUERIES:]]
    head = ["rows", "search", "recall@10", "median time"]
    for count in counts:
        corpus = grown(known, count, random)
        found, note = compare(folder / str(count), corpus, words, asked)
        print(table(head, found), note, sep="\n", flush=True)


def reused(model: SentenceTransformer, kept: Path) -> tuple[list[str], np.ndarray]:
    """As `encoded`, from files of an earlier run if there are such, else written to them."""
    if not kept.with_suffix(".npy").exists():
        texts, vectors = encoded(model)
        kept.with_suffix(".txt").write_text("\n".join(texts), encoding="utf-8")
        np.save(kept.with_suffix(".npy"), vectors)
    texts = kept.with_suffix(".txt").read_text(encoding="utf-8").split("\n")
    return texts, np.load(kept.with_suffix(".npy"))


def encoded(model: SentenceTransformer) -> tuple[list[str], np.ndarray]:
    texts = list(sentences(SENTENCES + QUERIES))
    progress = Progress("Encoding", len(texts), "texts", sys.stderr)
    parts = []
    for start in range(0, len(texts), 2_000):
        parts.append(model.encode(texts[start : start + 2_000], normalize_embeddings=True))
        progress.show(start + len(parts[-1]))
    progress.close()
    return texts, np.concatenate(parts)


def sentences(count: int) -> Iterator[str]:
    """Different sentences of the docstrings of installed packages."""
    seen: set[str] = set()
    for folder in site.getsitepackages():
        for path in sorted(Path(folder).rglob("*.py")):
            for text in docstrings(path):
                for sentence in _SENTENCE.split(" ".join(text.split())):
                    if 30 <= len(sentence) <= 300 and sentence not in seen:
                        seen.add(sentence)
                        yield sentence
                        if len(seen) == count:
                            return


def docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def grown(known: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """The rows, or as many of them, then copies with noise, of length 1."""
    out = np.empty((count, known.shape[1]), np.float32)
    size = len(known)
    for start in range(0, count, size):
        part = out[start : start + size]
        part[:] = known[: len(part)]
        if start:
            noise = random.normal(size=part.shape).astype(np.float32)
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            part *= NOISE_COSINE
            part += math.sqrt(1 - NOISE_COSINE**2) * noise
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return out


def compare(
    place: Path, corpus: np.ndarray, words: list[str], asked: np.ndarray
) -> tuple[list[list[str]], str]:
    documents = ({"id": str(n), "text": words[n % len(words)]} for n in range(len(corpus)))
    start = time.perf_counter()
    index = Index.build(place, documents, embeddings=corpus, exact_below=1)
    built = time.perf_counter() - start
    exact, exact_time = timed(index, asked[:EXACT_QUERIES], exact=True)
    for ids, query in zip(exact, asked[:EXACT_QUERIES], strict=True):
        scores = corpus @ query
        assert np.allclose(scores[ids], -np.sort(np.partition(-scores, 10)[:10]), atol=1e-5)
    rows = [[f"{len(corpus):,}", "exact", f"{1:.3f}", exact_time]]
    truth = [np.argpartition(-(corpus @ query), 10)[:10].tolist() for query in asked]
    for probes in PROBES:
        found, took = timed(index, asked, probes=probes)
        shared = mean(
            len(set(ids) & set(right)) / 10 for ids, right in zip(found, truth, strict=True)
        )
        name = "approximate (default)" if probes is None else f"approximate, probes={probes}"
        rows.append([f"{len(corpus):,}", name, f"{shared:.3f}", took])
    texts = [words[n * 31] for n in range(50)]
    times = [clock(lambda text=text: index.search(text, 10, mode="text")) for text in texts]
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    more = {f"new {n}": words[n] for n in range(1_000)}
    added = clock(lambda: index.add(more, embeddings=corpus[:1_000]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    opened = clock(lambda: Index.open(place))
    return rows, (
        f"{len(corpus):,} rows: built in {built:.0f} s, {size / 1e9:.2f} GB on disk; full text "
        f"{1000 * median(times):.0f} ms; 1,000 rows added in {added:.1f} s; opened in "
        f"{1000 * opened:.0f} ms; the process had {peak:,.0f} MB at most, the vectors included"
    )


def timed(index: Index, asked: np.ndarray, **options: object) -> tuple[list[list[int]], str]:
    found, times = [], []
    index.search(embedding=asked[0], mode="vector", **options)
    for query in asked:
        start = time.perf_counter()
        hits = index.search(embedding=query, mode="vector", **options)
        times.append(time.perf_counter() - start)
        found.append([int(hit.id) for hit in hits])
    return found, f"{1000 * median(times):.1f} ms"


def clock(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
