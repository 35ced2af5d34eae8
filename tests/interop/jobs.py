"""The job of each extra, in an environment that has it; `extras.py` runs this."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentune import SentenceTransformer, losses, models
from tests import tiny
from tests.interop.report import check, say

TEXTS = ["the cat sat on the mat", "a small dog", "", "birds fly over the river"]
PAIRS = (
    ["the cat", "a dog", "birds fly", "fish sleep", "read a file", "sort a list"],
    ["it sat", "it ran", "over trees", "under water", "open it", "number it"],
)


def new_model(room: Path) -> SentenceTransformer:
    encoder = models.Transformer(tiny.make_folder(room / "base"))
    return SentenceTransformer(modules=[encoder, models.Pooling(32)], device="cpu")


def train(room: Path) -> bool:
    """Three steps of the trainer on rows of a file; saved and loaded, the model is the same."""
    from sentune.data.read import read
    from tests.interop.values import train as run_trainer

    rows = "anchor,positive\n" + "\n".join(map(",".join, zip(*PAIRS, strict=True)))
    (room / "rows.csv").write_text(rows, encoding="utf-8")
    model = new_model(room)
    before = model.encode(TEXTS)
    with redirect_stdout(sys.stderr):  # the trainer prints each loss
        found = run_trainer(model, room / "run", read(room / "rows.csv"), steps=3)
    assert len(found) == 3 and np.isfinite(found).all(), found
    return is_trained(model, before) and is_kept("three steps, saved and loaded", model, room)


def peft(room: Path) -> bool:
    """Twenty steps with a new adapter; saved and loaded, the model is the same."""
    from peft import LoraConfig

    model = new_model(room)
    before = model.encode(TEXTS)
    model.add_adapter(LoraConfig(r=4, target_modules=["query", "value"]))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    loss = losses.MultipleNegativesRankingLoss(model)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss([model.tokenize(column) for column in PAIRS], None)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0], values
    is_equal = is_trained(model, before) and is_kept("20 steps of LoRA, loaded", model, room)
    assert (room / "saved" / "adapter_model.safetensors").exists()
    model.disable_adapters()
    return check("the encoder below it", model.encode(TEXTS), before) and is_equal


def words(room: Path) -> bool:
    """Phrases found by nltk's tokenizer are looked up; the embedding is their mean."""
    from sentune.models.tokenizer import PhraseTokenizer

    reader = PhraseTokenizer(["new_york", "big", "is"], stop_words=["is"])
    table = torch.randn(3, 8)
    model = SentenceTransformer(
        modules=[models.WordEmbeddings(reader, table), models.Pooling(8)], device="cpu"
    )
    wanted = table[:2].mean(0)[None].numpy()
    found = model.encode(["New York is big."])
    return check("a phrase of two words", found, wanted) and is_kept(
        "words, saved and loaded", model, room, ["New York is big."]
    )


def merge(room: Path) -> bool:
    """Two models merged have the mean of their weights; saved and loaded, the model is the same."""
    first, second = (new_model(room / name) for name in ("first", "second"))
    with torch.no_grad():
        for number, weight in enumerate(second.parameters()):
            weight += 0.01 * (number % 7)
    merged = SentenceTransformer.merge([first, second], device="cpu")
    trio = zip(merged.parameters(), first.parameters(), second.parameters(), strict=True)
    apart = max(float((one - (a + b) / 2).detach().abs().max()) for one, a, b in trio)
    say(f"  {'ok  ' if apart < 1e-6 else 'DIFF'} weights are the mean within {apart:.1e}")
    return apart < 1e-6 and is_kept("merged, saved and loaded", merged, room)


def faiss(room: Path) -> bool:
    """Each vector is found first for itself; of bits and of bytes, too."""
    from sentune.quantization import semantic_search_faiss

    return finds_itself(semantic_search_faiss, "ubinary", "uint8")


def usearch(room: Path) -> bool:
    """As faiss, over vectors of the types that usearch takes."""
    from sentune.quantization import semantic_search_usearch

    return finds_itself(semantic_search_usearch, "binary", "int8")


def finds_itself(search: Callable[..., Any], *precisions: str) -> bool:
    """Whether a vector is the first that is found for it, in each precision."""
    from sentune.quantization import quantize_embeddings

    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    results = []
    for precision in ("float32", *precisions):
        corpus = quantize_embeddings(vectors, precision=precision)
        options = {"corpus_embeddings": corpus, "corpus_precision": precision, "top_k": 3}
        found, _ = search(vectors[:5], calibration_embeddings=vectors, **options)
        results.append([row[0]["corpus_id"] for row in found] == list(range(5)))
        say(f"  {'ok  ' if results[-1] else 'DIFF'} {precision}: first is the vector itself")
    return all(results)


def static(room: Path) -> bool:
    """A model distilled from a checkpoint gives the embeddings of model2vec, of length 1."""
    from model2vec.distill import distill

    base = str(tiny.make_folder(room / "base"))
    options = {"pca_dims": 8, "device": "cpu"}
    module = models.StaticEmbedding.from_distillation(base, **options)
    model = SentenceTransformer(modules=[module], device="cpu")
    texts = [text for text in TEXTS if text]
    wanted = distill(base, quantize_to="float32", **options).encode(texts)
    found = model.encode(texts, normalize_embeddings=True)
    is_equal = check("distilled, beside model2vec", found, wanted)
    return is_equal and is_kept("distilled, saved and loaded", model, room)


def logs(room: Path) -> bool:
    """Lines in colours above progress bars."""
    import logging

    import coloredlogs

    from sentune.util.logs import install_logger

    logger = logging.getLogger("sentune.jobs")
    install_logger(logger, level=logging.INFO)
    kinds = [type(handler.formatter) for handler in logger.handlers]
    say(f"  a logger with {[kind.__name__ for kind in kinds]}")
    return any(issubclass(kind, coloredlogs.BasicFormatter) for kind in kinds)


def bulk(room: Path) -> bool:
    """A corpus in shards, and the shards read again."""
    from sentune.bulk import encode_corpus

    return is_encoded(room, lambda *what: encode_corpus(*what, shard_rows=3))


def ray(room: Path) -> bool:
    """The same on a cluster of this machine."""
    from sentune.bulk import CorpusOptions, encode_on_ray

    reading = CorpusOptions(shard_rows=3)
    return is_encoded(room, lambda *what: encode_on_ray(*what, None, reading, address="local"))


def is_encoded(room: Path, encode: Callable[..., Any]) -> bool:
    """Whether shards of a corpus have the embeddings of a model."""
    import pyarrow.parquet as pq

    model = new_model(room)
    (room / "corpus.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    encode(room / "corpus.txt", model, room / "out")
    paths = sorted((room / "out").glob("*.parquet"))
    vectors = [np.stack(pq.read_table(path)["embedding"].to_numpy()) for path in paths]
    assert len(paths) == 2
    return check("shards of a corpus", np.concatenate(vectors), model.encode(TEXTS))


def report(room: Path) -> bool:
    """A page with a plot, which holds all that draws it."""
    from sentune.report import missing, page

    html = page({"curves": {"tried": {"loss": [[0, 1.0], [10, 0.5], [20, 0.4]]}}})
    say(f"  a page of {len(html):,} characters")
    return missing() is None and 'data-plot="curve-loss"' in html and len(html) > 500_000


def index(room: Path) -> bool:
    """An index is built, added to and searched, and finds by words without a network."""
    from sentune import Index

    model = new_model(room)
    built = Index.build(room / "index", TEXTS[:2], model)
    built.add({"birds": TEXTS[3]})
    hits = built.search("birds", mode="text")
    assert [hit.id for hit in hits] == ["birds"], hits
    found = built.search(TEXTS[0], mode="vector", top_k=3)
    texts = [hit.text for hit in found]
    unit = model.encode([TEXTS[0], *texts], normalize_embeddings=True)
    return check("an index", np.array([hit.score for hit in found]), unit[1:] @ unit[0])


JOBS: dict[str, Callable[[Path], bool]] = {
    job.__name__: job
    for job in (train, peft, words, faiss, usearch, merge, static, bulk, index, ray, report, logs)
}


def is_trained(model: SentenceTransformer, before: np.ndarray) -> bool:
    moved = float(np.abs(model.encode(TEXTS) - before).max())
    say(f"  {'ok  ' if moved > 1e-3 else 'DIFF'} embeddings moved by {moved:.1e}")
    return moved > 1e-3


def is_kept(what: str, model: SentenceTransformer, room: Path, texts: list[str] = TEXTS) -> bool:
    """Whether a model is the same after it was saved and loaded."""
    model.save(str(room / "saved"))
    again = SentenceTransformer(str(room / "saved"), device="cpu")
    return check(what, again.encode(texts), model.encode(texts))


def releases(extra: str) -> str:
    """What an extra installed, and what stands below it."""
    asked = rf"([\w.-]+).*extra == .{re.escape(extra)}\W"
    names = [found[1] for line in requires("sentune") or () if (found := re.match(asked, line))]
    shown = dict.fromkeys([*names, "transformers", "torch"])
    return ", ".join(f"{name} {version(name)}" for name in shown)


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in JOBS]:
        raise SystemExit(f"the extra {unknown[0]!r} has no job in {__file__}; write one")
    results = []
    for name in names:
        say(f"{name}: {releases(name)}")
        with tempfile.TemporaryDirectory() as room:
            results.append(JOBS[name](Path(room)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
