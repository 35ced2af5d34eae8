"""What the demo prints: corpus, model, metrics and searches before and after training."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sentune.demo import steps
from sentune.demo.pydocs import Entry
from sentune.disk import files
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SettingError
from sentune.machine.screen import WIDTH, Progress, duration, fit, quiet_libraries, say, table
from sentune.record.run import Run

SEARCHES = (
    "run a function after some seconds",
    "find out which words are the most common",
    "copy a folder with everything in it",
    "is this text a valid web address",
    "pick one item at random",
)


@dataclass(frozen=True)
class Plan:
    """The options of the demo, see `sentune demo --help`."""

    output: Path = Path("demo-model")
    model: str | None = None
    json: Path | None = None
    ask: bool = False
    epochs: int = 1
    batch_size: int = 64
    seed: int = 42
    limit: int | None = None


@dataclass(frozen=True)
class Look:
    """A model at one moment: its metrics on held-out queries, and the hits of the searches."""

    figures: dict[str, float]
    hits: list[list[Entry]]
    embeddings: Tensor  # (entries, d)


def show(plan: Plan) -> None:
    """Run the demo and print its results; SettingError at once if they could not be written."""
    start = time.perf_counter()
    _check_output(plan)
    with quiet_libraries():
        _show(plan, start)


def _show(plan: Plan, start: float) -> None:
    corpus = steps.prepare(plan.limit)
    say(
        f"Documents  {len(corpus.entries):,} functions, methods and classes of Python "
        f"{platform.python_version()}, {len(corpus.held_out):,} held out"
    )
    name = plan.model or steps.default_model()
    model = SentenceTransformer(name)
    length, model.max_seq_length = model.max_seq_length, steps.MAX_SEQ_LENGTH
    say(f"Model      {_describe(name, model)}\n")

    before = _look("Before", model, corpus)
    run = _train(plan, model, corpus)
    after = _look("After", model, corpus)
    say("\n" + _figures(before, after))
    say("\n" + _searches(before.hits, after.hits))

    model.max_seq_length = length
    model.save_pretrained(str(plan.output))
    seconds = time.perf_counter() - start
    say("\n" + _farewell(plan.output, seconds))
    if plan.json:
        report = _report(plan, name, corpus, before, after, run, seconds)
        with files.opened(plan.json, through_links=True) as file:
            file.write(f"{json.dumps(report, indent=2)}\n".encode())
    if plan.ask:
        _ask(model, corpus, after)


def _check_output(plan: Plan) -> None:
    """Raise before the work starts if a result could not be written."""
    output = plan.output
    is_model = (output / "modules.json").is_file()
    if output.exists() and not is_model and (not output.is_dir() or any(output.iterdir())):
        raise SettingError(
            f"{output} exists and does not contain a model; choose another folder with --output"
        )
    if plan.json is not None and plan.json.is_dir():
        raise SettingError(f"{plan.json} is a folder; give the name of a file: --json FILE")
    for path in (output, plan.json):
        if path is None:
            continue
        try:
            folder = path if path == output else path.parent
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"{path} cannot be written: {error.strerror}") from error
        if not os.access(folder, os.W_OK):
            raise SettingError(f"{path} cannot be written: no permission; choose another path")


def _describe(name: str, model: SentenceTransformer) -> str:
    known = steps.MODEL_ID.split("/")[-1] if name == steps.default_model() else name
    weights = sum(weight.numel() for weight in model.parameters())
    device = model.device.type
    where = f"{os.cpu_count()} CPU cores" if device == "cpu" else device
    return f"{known}, {weights / 1e6:.1f} million weights, on {where}"


def _look(label: str, model: SentenceTransformer, corpus: steps.Corpus) -> Look:
    """Embed, evaluate and search, with a progress bar, and print a line of metrics."""
    start = time.perf_counter()
    progress = Progress(label, len(corpus.entries), "documents")
    try:
        embeddings = steps.embed(model, corpus, progress.show)
    finally:
        progress.close()
    figures = steps.measure(model, corpus, embeddings)
    hits = steps.search(model, corpus, embeddings, SEARCHES)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    say(f"{fit(label, 11)}{shown}  ({duration(time.perf_counter() - start)})")
    return Look(figures, hits, embeddings)


def _train(plan: Plan, model: SentenceTransformer, corpus: steps.Corpus) -> Run:
    total = len(corpus.train) * plan.epochs
    progress = Progress("Training", total, "pairs")
    try:
        run = steps.train(
            model,
            corpus,
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            seed=plan.seed,
            report=lambda step, of, loss: progress.show(total * step // of, f"loss {loss:.3f}"),
        )
    finally:
        progress.close()
    found = _training(run, total)
    say(
        f"{fit('Training', 11)}{total:,} pairs in {duration(found['seconds'])}, "
        f"{found['pairs_per_second']:,.0f} pairs/s, "
        f"loss {found['first_loss']:.3f} -> {found['last_loss']:.3f}"
    )
    return run


def _training(run: Run, pairs: int) -> dict[str, float]:
    """The numbers of the training, from its record."""
    losses, seconds = run.logged("loss"), run.seconds or float("nan")
    return {
        "steps": run.steps or 0,
        "pairs": pairs,
        "seconds": round(seconds, 3),
        "pairs_per_second": round(pairs / seconds, 1),
        "first_loss": round(_mean(losses[:10]), 4),
        "last_loss": round(_mean(losses[-10:]), 4),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _figures(before: Look, after: Look) -> str:
    meaning = {
        "MRR@10": "mean of 1 / rank of the right entry, 0 beyond rank 10",
        "hit@1": "share of queries whose right entry comes first",
        "hit@10": "share of queries whose right entry is in the top 10",
    }
    head = ("Held-out queries", "before", "after")
    rows = [
        (name, f"{value:.3f}", f"{after.figures[name]:.3f}")
        for name, value in before.figures.items()
    ]
    notes = ["", *(meaning[name] for name in before.figures)]
    lines = table(head, rows).split("\n")
    return "\n".join(f"{line}   {note}".rstrip() for line, note in zip(lines, notes, strict=True))


def _searches(before: list[list[Entry]], after: list[list[Entry]]) -> str:
    width = WIDTH // 2 - 4
    lines = [f"  {fit('Searches in plain words: before', width + 2)}  after"]
    for query, left, right in zip(SEARCHES, before, after, strict=True):
        lines += ["", f"  {query!r}".replace("'", '"')]
        for rank, (old, new) in enumerate(zip(left, right, strict=True), start=1):
            line = f"  {rank} {fit(_signature(old, width), width)}  {_signature(new, width)}"
            lines.append(line)
    return "\n".join(lines)


def _signature(entry: Entry, width: int) -> str:
    """Name and parameters, or only the name where they do not fit."""
    whole = entry.document[: entry.document.index(")") + 1]
    return whole if len(whole) <= width else fit(f"{entry.name}(...)", width).rstrip()


def _farewell(output: Path, seconds: float) -> str:
    return (
        f"Done in {duration(seconds)}. The model is in {output.resolve()}\n"
        "Use it:\n\n"
        "    from sentune import SentenceTransformer\n"
        f"    model = SentenceTransformer({json.dumps(str(output))})\n"
        '    documents = model.encode_document(["shutil.copytree", "random.choice"])\n'
        '    print(model.similarity(model.encode_query("copy a folder"), documents))'
    )


def _ask(model: SentenceTransformer, corpus: steps.Corpus, found: Look) -> None:
    say("\nType a search and press Enter; an empty line ends.")
    while True:
        try:
            query = input("\nsearch> ").strip()
        except EOFError:
            say()
            return
        if not query:
            return
        (hits,) = steps.search(model, corpus, found.embeddings, [query], top_k=5)
        for rank, entry in enumerate(hits, start=1):
            say(f"  {rank} {_signature(entry, WIDTH - 4)}")
            say(f"    {fit(entry.query, WIDTH - 4).rstrip()}")


def _report(
    plan: Plan, name: str, corpus: steps.Corpus, before: Look, after: Look, run: Run, seconds: float
) -> dict[str, Any]:
    """All results, for `--json`."""
    packages = ("sentune", "torch", "transformers", "datasets", "accelerate")
    return {
        "model": name,
        "corpus": {
            "python": platform.python_version(),
            "found": corpus.found,
            "entries": len(corpus.entries),
            "train": len(corpus.train),
            "held_out": len(corpus.held_out),
        },
        "before": before.figures,
        "after": after.figures,
        "training": {
            "epochs": plan.epochs,
            "batch_size": plan.batch_size,
            "seed": plan.seed,
            **_training(run, len(corpus.train) * plan.epochs),
        },
        "searches": [
            {
                "query": query,
                "before": [entry.name for entry in left],
                "after": [entry.name for entry in right],
            }
            for query, left, right in zip(SEARCHES, before.hits, after.hits, strict=True)
        ],
        "seconds": round(seconds, 1),
        "versions": {name: run.versions.get(name) for name in packages},
    }
