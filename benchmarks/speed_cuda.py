"""Speed on a GPU with CUDA beside sentence-transformers, in one process.

    python benchmarks/speed_cuda.py MODEL [--data FOLDER] [--only TEXT ...] [--rounds N]

MODEL is the folder of all-MiniLM-L6-v2 with weights in float32. Of each row the contestants run in
turn, and the table has the medians; what each one does first is not timed. `benchmarks/speed.py`
is the longer comparison, with a process for each contestant.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import torch
from quality import DATA, own_library, peer_library
from speed_tasks import OWN, PEER, TEXTS, take

CUDA = torch.cuda.is_available()


@dataclass(frozen=True)
class Contestant:
    """A library with settings.

    Args:
        library: `OWN` or `PEER`.
        precision: "default", "float32", or the type that is multiplied in: for encoding that of
            the weights, in training that of autocast.
        batch_size: Of encoding; None for the library's default.
    """

    library: str
    precision: str = "default"
    batch_size: int | None = None


DEFAULTS = "defaults", Contestant(OWN), Contestant(PEER)
EXACT = "both float32", Contestant(OWN, "float32"), Contestant(PEER)
HALF = "both bfloat16", Contestant(OWN, "bfloat16"), Contestant(PEER, "bfloat16")
FLOAT16 = "both float16", Contestant(OWN, "float16"), Contestant(PEER, "float16")
LARGE_BATCH = (
    "both bfloat16, the peer with batches of 256",
    Contestant(OWN, "bfloat16"),
    Contestant(PEER, "bfloat16", 256),
)


@dataclass(frozen=True)
class Row:
    """A line of the table for each of its pairings."""

    name: str
    kind: str
    texts: str
    pairings: tuple[tuple[str, Contestant, Contestant], ...]
    options: dict[str, Any] = field(default_factory=dict)


ENCODE = (DEFAULTS, EXACT, HALF, FLOAT16, LARGE_BATCH)
TRAIN = (DEFAULTS, EXACT, HALF)
PAIRS = {"loss": "MultipleNegativesRankingLoss", "max_seq_length": 128}
ROWS = (
    Row("encode 10,000 short sentences", "encode", "sentences", ENCODE, {"count": 10_000}),
    Row("encode 2,000 documents of 20 to 500 tokens", "encode", "documents", ENCODE,
        {"count": 2_000, "max_seq_length": 512}),
    Row("encode one short sentence", "encode", "sentences", (DEFAULTS, EXACT),
        {"count": 1, "times": 50}),
    Row("train, MultipleNegativesRanking, pairs, batch 64", "train", "pairs", TRAIN,
        {**PAIRS, "batch_size": 64}),
    Row("train, MultipleNegativesRanking, pairs, batch 128", "train", "pairs", TRAIN,
        {**PAIRS, "batch_size": 128}),
    Row("train, CosineSimilarity, scored pairs, batch 16", "train", "scored", TRAIN,
        {"loss": "CosineSimilarityLoss", "batch_size": 16, "steps": 30}),
    Row("train, triplets of uneven columns, up to 256 tokens, batch 16", "train", "triplets", TRAIN,
        {"loss": "TripletLoss", "batch_size": 16, "max_seq_length": 256}),
    Row("train, MultipleNegativesRanking, pairs, batch 64, BERT-base", "train", "pairs", TRAIN,
        {**PAIRS, "batch_size": 64, "model": "large"}),
    Row("encode 2,000 documents of 20 to 500 tokens, BERT-base", "encode", "documents",
        (DEFAULTS, EXACT, HALF, LARGE_BATCH),
        {"count": 2_000, "max_seq_length": 512, "model": "large"}),
)  # fmt: skip

_KITS = {OWN: own_library, PEER: peer_library}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="part of the texts and steps")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = {"machine": machine()}
    print(results["machine"], flush=True)
    with TemporaryDirectory() as folder:
        for row in ROWS:
            if any(part.lower() in row.name.lower() for part in args.only):
                model = large(args.model, Path(folder)) if "model" in row.options else args.model
                results[row.name] = measured(row, model, args)
                if args.out:
                    args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


def measured(row: Row, model: Path, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Label -> ratio and seconds of each pairing, printed as they come."""
    run = {"encode": encoder, "train": trainer}[row.kind]
    contestants = list(dict.fromkeys(c for (_, *both) in row.pairings for c in both))
    timers = {c: run(c, row, model, args) for c in contestants}
    times: dict[Contestant, list[float]] = {c: [] for c in contestants}
    for _ in range(args.rounds):
        for contestant in contestants:
            times[contestant].append(timers[contestant]())
    found = {}
    for label, own, other in row.pairings:
        seconds = median(times[own]), median(times[other])
        found[label] = {"ratio": seconds[1] / seconds[0], OWN: seconds[0], PEER: seconds[1]}
        print(
            f"{found[label]['ratio']:6.2f}  {row.name}, {label}: "
            f"{seconds[0]:.4g} s, {seconds[1]:.4g} s",
            flush=True,
        )
    return found


def encoder(
    contestant: Contestant, row: Row, model: Path, args: argparse.Namespace
) -> Callable[[], float]:
    """What times an encoding."""
    options = row.options
    texts = take(texts_of(row.texts, args.data), max(1, int(options["count"] * args.share)))
    kit, precision = _KITS[contestant.library](), contestant.precision
    dtype = None if precision == "default" else getattr(torch, precision)
    settings = {} if dtype is None else {"model_kwargs": {"dtype": dtype}}
    encoder = kit["model"](str(model), **settings)
    encoder.max_seq_length = options.get("max_seq_length", 128)
    size = {} if contestant.batch_size is None else {"batch_size": contestant.batch_size}

    def once() -> float:
        started = time.perf_counter()
        for _ in range(options.get("times", 1)):
            encoder.encode(texts, show_progress_bar=False, **size)
        return (time.perf_counter() - started) / options.get("times", 1)

    encoder.encode(texts[:500], show_progress_bar=False, **size)
    once()
    return once


def trainer(
    contestant: Contestant, row: Row, model: Path, args: argparse.Namespace
) -> Callable[[], float]:
    """What times a step of a training, from the end of one step to the end of the next."""
    from datasets import Dataset
    from transformers import TrainerCallback

    options, kit = row.options, _KITS[contestant.library]()
    warm_up, steps = 5, max(2, int(options.get("steps", 15) * args.share))
    rows = options["batch_size"] * (warm_up + steps)
    texts = texts_of(row.texts, args.data)
    precision = {"default": {}, "float32": {"bf16": False}}.get(
        contestant.precision, {"bf16": True}
    )
    turn = 0

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if CUDA and len(self.ends) + 1 in (warm_up, warm_up + steps):
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

    def once() -> float:
        nonlocal turn
        turn += 1
        columns = {name: take(column, turn * rows)[-rows:] for name, column in texts.items()}
        trained = kit["model"](str(model))
        trained.max_seq_length = options.get("max_seq_length", 128)
        clock = Clock()
        with TemporaryDirectory() as folder:
            arguments = kit["arguments"](
                output_dir=folder,
                max_steps=warm_up + steps,
                per_device_train_batch_size=options["batch_size"],
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_strategy="no",
                seed=1,
                **({} if CUDA else {"use_cpu": True}),
                **precision,
            )
            kit["trainer"](
                model=trained,
                args=arguments,
                train_dataset=Dataset.from_dict(columns),
                loss=getattr(kit["losses"], options["loss"])(trained),
                callbacks=[clock],
            ).train()
        return (clock.ends[-1] - clock.ends[warm_up - 1]) / steps

    return once


@functools.cache
def texts_of(name: str, data: Path) -> Any:
    return TEXTS[name](data)


def large(model: Path, folder: Path) -> Path:
    """A BERT of the base size with random weights and the tokenizer of the model."""
    place = folder / "base"
    if not place.exists():
        from transformers import AutoTokenizer, BertConfig, BertModel

        torch.manual_seed(0)
        BertModel(BertConfig()).save_pretrained(place)
        AutoTokenizer.from_pretrained(model).save_pretrained(place)
    return place


def machine() -> dict[str, Any]:
    names = ("torch", "transformers", "sentence-transformers", "tokenizers", "accelerate")
    return {
        "chip": torch.cuda.get_device_name() if CUDA else platform.processor(),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in names},
    }


if __name__ == "__main__":
    main()
