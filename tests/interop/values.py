"""What sentune computes in some environment, of each of its main jobs.

    python values.py BASES OUT [SAVED]

BASES are checkpoints that `make_bases` made; OUT gets values.npz and the models saved here; SAVED
is the OUT of another environment, whose models are loaded here. Prints the versions as json.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SENTUNE_DTYPE"] = "float32"  # exact, also on CPUs whose default is bfloat16
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from datasets import Dataset

from sentune import (
    CrossEncoder,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
    models,
)
from tests import tiny
from tests.interop import pairs

TEXTS = ["the cat sat on the mat", "a small dog", "", "Birds fly over the RIVER " * 20]
# With an engine of its own, with transformers' modules on packed tokens, and padded.
ENCODERS = ("bert", "modernbert", "mpnet")
ROWS = {
    "anchor": ["the cat", "a dog", "birds fly", "fish sleep", "read a file", "sort a list"],
    "positive": ["it sat", "it ran", "over trees", "under water", "open it", "number it"],
}
VALUES = "values.npz"


def make_bases(root: Path) -> None:
    """Checkpoints of encoders and classifiers, as transformers saves them."""
    for kind in ENCODERS:
        tiny.make_folder(root / f"encoder-{kind}", kind)
    for kind in pairs.FAMILIES:
        pairs.make_folder(root / f"scorer-{kind}", kind, labels=1)


def encoded(bases: Path) -> Iterator[tuple[str, np.ndarray]]:
    for kind in ENCODERS:
        model = SentenceTransformer(str(bases / f"encoder-{kind}"), device="cpu")
        yield f"encode, {kind}", model.encode(TEXTS)


def trained(bases: Path, out: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Two steps of the trainer for each encoder; then saved, loaded and used again."""
    for kind in ENCODERS:
        encoder = models.Transformer(str(bases / f"encoder-{kind}"))
        model = SentenceTransformer(modules=[encoder, models.Pooling(32)], device="cpu")
        before = model.encode(TEXTS)
        yield f"loss of 2 steps, {kind}", np.array(train(model, out / "run"))
        after = model.encode(TEXTS)
        assert np.abs(after - before).max() > 1e-3, "nothing was trained"
        yield f"encode after 2 steps, {kind}", after
        folder = out / f"trained-{kind}"
        model.save(str(folder))
        again = SentenceTransformer(str(folder), device="cpu")
        yield f"encode after save and load, {kind}", again.encode(TEXTS)


def train(
    model: SentenceTransformer, folder: Path, rows: Dataset | None = None, *, steps: int = 2
) -> list[float]:
    """The loss at each step."""
    options = {"max_steps": steps, "logging_steps": 1, "per_device_train_batch_size": 3}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        learning_rate=1e-3,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=1,
        use_cpu=True,
        bf16=False,
        **options,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=rows or Dataset.from_dict(ROWS),
        loss=losses.MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def scored(bases: Path, out: Path) -> Iterator[tuple[str, np.ndarray]]:
    for kind in pairs.FAMILIES:
        model = CrossEncoder(str(bases / f"scorer-{kind}"), device="cpu")
        yield f"predict, {kind}", model.predict(pairs.PAIRS)
        folder = out / f"saved-{kind}"
        model.save(str(folder))
        again = CrossEncoder(str(folder), device="cpu")
        yield f"predict after save and load, {kind}", again.predict(pairs.PAIRS)


def read(saved: Path) -> dict[str, np.ndarray]:
    """What models saved in another environment give here, under the names of `trained`."""
    found = {}
    for kind in ENCODERS:
        model = SentenceTransformer(str(saved / f"trained-{kind}"), device="cpu")
        found[f"encode after save and load, {kind}"] = model.encode(TEXTS)
    for kind in pairs.FAMILIES:
        scorer = CrossEncoder(str(saved / f"saved-{kind}"), device="cpu")
        found[f"predict after save and load, {kind}"] = scorer.predict(pairs.PAIRS)
    return found


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "tokenizers", "huggingface-hub", "numpy", "datasets")
    python = ".".join(map(str, sys.version_info[:3]))
    return {"Python": python, **{name: version(name) for name in names}}


def main(bases: Path, out: Path, saved: Path | None = None) -> None:
    warnings.filterwarnings("ignore", ".*had more than max_seq_length")
    out.mkdir(parents=True)
    values = dict([*encoded(bases), *trained(bases, out), *scored(bases, out)])
    elsewhere = read(saved) if saved else {}
    np.savez(out / VALUES, **values, **{f"read: {name}": it for name, it in elsewhere.items()})
    (out / "versions.json").write_text(json.dumps(versions()), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
