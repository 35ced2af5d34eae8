"""Models go from sentune to another environment and from there to sentune: equal results.

    python tests/interop/run.py .venv-interop/5.0.0/bin/python ...

Each argument is the Python of an environment with some release of sentence-transformers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SENTUNE_DTYPE"] = "float32"  # exact, also on CPUs whose default is bfloat16
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

from sentune import SentenceTransformer, models
from sentune.models.tokenizer import WhitespaceTokenizer
from tests import tiny
from tests.interop import rerankers
from tests.interop.peer import TEXTS, texts_for
from tests.interop.report import check, run, say

PEER = Path(__file__).with_name("peer.py")
# What plain transformers can do in a few lines.
PLAIN = ("mean", "cls-normalized", "prompts")


def make(root: Path) -> dict[Path, np.ndarray]:
    """Models saved by sentune, and their vectors."""
    torch.manual_seed(0)
    raw = {kind: tiny.make_folder(root / f"raw-{kind}", kind) for kind in ("bert", "roberta")}
    made = {}
    for kind, folder in raw.items():
        encoder = models.Transformer(folder, max_seq_length=40)
        parts: dict[str, list] = {
            "mean": [models.Pooling(32)],
            "cls-normalized": [models.Pooling(32, "cls"), models.Normalize()],
            "max": [models.Pooling(32, "max")],
            "dense": [models.Pooling(32), models.Dense(32, 8), models.Normalize()],
            "prompts": [models.Pooling(32)],
        }
        for name, modules in parts.items():
            model = SentenceTransformer(modules=[encoder, *modules], device="cpu")
            if name == "prompts":
                model.prompts = {"query": "query: ", "document": "passage: "}
                model.default_prompt_name = "document"
            target = root / f"{kind}-{name}"
            model.save(str(target))
            made[target] = encode(model)
    words = models.WordEmbeddings(WhitespaceTokenizer(["cat", "dog", "small"]), torch.randn(3, 8))
    lstm = [words, models.LSTM(8, 4), models.Pooling(8, "max")]
    layers = models.Transformer(raw["bert"], config_kwargs={"output_hidden_states": True})
    several = [layers, models.WeightedLayerPooling(32, 2, 1), models.Pooling(32)]
    for name, modules in {"words-lstm": lstm, "bert-layers": several}.items():
        model = SentenceTransformer(modules=modules, device="cpu")
        model.save(str(root / name))
        made[root / name] = encode(model, texts_for(root / name))
    return made


def encode(model: SentenceTransformer, texts: Sequence[str] = TEXTS) -> np.ndarray:
    names = [None, *sorted(name for name, text in model.prompts.items() if text)]
    return np.stack([model.encode(list(texts), prompt_name=name) for name in names])


def versions_of(python: str) -> list[str]:
    peer = "import sentence_transformers as s, transformers as t"
    asked = f"{peer}; print(s.__version__, t.__version__)"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


def main(pythons: list[str]) -> int:
    warnings.filterwarnings("ignore", ".*had more than max_seq_length")
    if not pythons:
        raise SystemExit(__doc__)
    results = []
    for python in pythons:
        peer, transformers = versions_of(python)
        say(f"sentence-transformers {peer}, transformers {transformers}")
        with tempfile.TemporaryDirectory() as room:
            results += exchange(python, Path(room))
        with tempfile.TemporaryDirectory() as room:
            results += rerankers.exchange(python, peer, Path(room))
    assert len(results) >= 56 * len(pythons), "not everything was compared"
    say(f"{sum(results)} of {len(results)} comparisons are equal")
    return 0 if all(results) else 1


def exchange(python: str, room: Path) -> list[bool]:
    """Results of all comparisons of encoders with the release of an environment."""
    ours, theirs = room / "ours", room / "theirs"
    results = []
    made = make(ours)
    run(python, PEER, "load", *made)
    for folder, vectors in made.items():
        found = np.load(folder / "vectors.npy")
        results.append(check(f"saved here, loaded there: {folder.name}", found, vectors))
    plain = [folder for folder in made if folder.name.partition("-")[2] in PLAIN]
    run(python, PEER, "snippet", *plain)
    for folder in plain:
        results.append(check(f"the card's code there: {folder.name}", *snippet_of(folder)))
    theirs.mkdir()
    run(python, PEER, "make", theirs)
    for folder in sorted(path.parent for path in theirs.glob("*/vectors.npy")):
        model = SentenceTransformer(str(folder), device="cpu")
        wanted = np.load(folder / "vectors.npy")
        results.append(check(f"saved there, loaded here: {folder.name}", encode(model), wanted))
    return results


def snippet_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """What the card's code gave, and what sentune gives for its sentences."""
    from sentune.share.kinds import SENTENCES

    return np.load(folder / "snippet.npy"), SentenceTransformer(str(folder)).encode(list(SENTENCES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
