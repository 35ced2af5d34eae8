"""The demo: inspect, train, compare, report and search, on the documentation of this Python."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sentune.demo import steps
from sentune.demo.pydocs import Entry
from sentune.disk import files
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SentuneError, SettingError
from sentune.hub.usual import MODEL
from sentune.machine.screen import WIDTH, Progress, duration, fit, quiet_libraries, say, table
from sentune.workbench.inspect import Inspection, inspect
from sentune.workbench.training import Result, train

SEARCHES = (
    "run a function after some seconds",
    "find out which words are the most common",
    "copy a folder with everything in it",
    "is this text a valid web address",
    "pick one item at random",
)
TRAIN, HELD_OUT = "pairs.csv", "held-out.csv"


@dataclass(frozen=True)
class Plan:
    """The options of the demo, see `sentune demo --help`."""

    output: Path = Path("demo")
    model: str | None = None
    json: Path | None = None
    ask: bool = False
    budget: str | None = None
    seed: int = 42
    limit: int | None = None

    @property
    def trained(self) -> Path:
        """The folder of the trained model."""
        return self.output / "model"


@dataclass(frozen=True)
class Look:
    """A model at one moment: its metrics on held-out queries, and the hits of the searches."""

    figures: dict[str, float]
    hits: list[list[Entry]]
    embeddings: Tensor  # (entries, d)


def show(plan: Plan) -> None:
    """Run the demo and print its results; SettingError at once if they could not be written."""
    start = time.perf_counter()
    was_there = plan.output.exists()
    _check_output(plan)
    with quiet_libraries():
        name = plan.model or steps.default_model()
        try:
            model = SentenceTransformer(name)
        except SentuneError:
            if not was_there:
                plan.output.rmdir()
            raise
        _show(plan, name, model, start)


def _show(plan: Plan, name: str, model: SentenceTransformer, start: float) -> None:
    model.max_seq_length = steps.MAX_SEQ_LENGTH
    say(f"Model      {_describe(name, model)}")
    corpus = _corpus(plan, model)
    for part, file in ((corpus.train, TRAIN), (corpus.held_out, HELD_OUT)):
        steps.write(part, plan.output / file)
    found = _inspect(plan)
    before = _look("Before", model, corpus)
    result = _train(plan, name)
    trained = SentenceTransformer(str(plan.trained))
    trained.max_seq_length = steps.MAX_SEQ_LENGTH
    after = _look("After", trained, corpus)
    say("\n" + _figures(before, after))
    say("\n" + _searches(before.hits, after.hits))
    seconds = time.perf_counter() - start
    say("\n" + _farewell(plan, seconds))
    if plan.json:
        report = _report(name, corpus, found, before, after, result, seconds)
        with files.opened(plan.json, through_links=True) as opened:
            opened.write(f"{json.dumps(report, indent=2)}\n".encode())
    if plan.ask:
        _ask(trained, corpus, after)


def _corpus(plan: Plan, model: SentenceTransformer) -> steps.Corpus:
    """As much of the documentation as there is time for on this machine."""
    corpus = steps.prepare(plan.limit)
    why = ""
    if plan.limit is None:
        count, pace = steps.affordable(model, corpus)
        if count < len(corpus.entries):
            total = len(corpus.entries)
            why = f" (of {total:,}, since this machine encodes {pace:,.0f} a second)"
            corpus = steps.prepare(count)
    say(
        f"Documents  {len(corpus.entries):,} functions, methods and classes of Python "
        f"{platform.python_version()}, {len(corpus.held_out):,} held out{why}\n"
    )
    return corpus


def _inspect(plan: Plan) -> Inspection:
    """`sentune inspect pairs.csv --test held-out.csv`, in a few lines."""
    data = plan.output / TRAIN
    say(f"$ sentune inspect {data} --test {plan.output / HELD_OUT}")
    found = inspect(data, test=plan.output / HELD_OUT)
    say(f"Form: {found.form}")
    rows = ", ".join(f"{each.kind} {each.count:,}" for each in found.findings) or "nothing"
    say(f"Found in single rows: {rows}")
    say(f"Loss that fits best: {found.losses[0]['name']}\n")
    return found


def _train(plan: Plan, name: str) -> Result:
    """`sentune train pairs.csv --test held-out.csv`."""
    data, held_out = plan.output / TRAIN, plan.output / HELD_OUT
    options: dict[str, Any] = {"seed": plan.seed, "max_length": steps.MAX_SEQ_LENGTH}
    if plan.budget is not None:
        options["budget"] = plan.budget
    words = "".join(f" --{key.replace('_', '-')} {value}" for key, value in options.items())
    say(f"\n$ sentune train {data} --test {held_out} --output {plan.trained}{words}")
    result = train(
        data, name, plan.trained, test=held_out, progress=sys.stdout, dev_share=0.06, **options
    )
    say(f"{result}\n")
    return result


def _check_output(plan: Plan) -> None:
    """Raise before the work starts if a result could not be written."""
    output = plan.output
    is_demo = (output / TRAIN).is_file()
    if output.exists() and not is_demo and (not output.is_dir() or any(output.iterdir())):
        raise SettingError(
            f"{output} exists and is not of a demo; choose another folder with --output"
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
    known = MODEL.split("/")[-1] if name == steps.default_model() else name
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


def _farewell(plan: Plan, seconds: float) -> str:
    folder = json.dumps(str(plan.trained))
    return (
        f"Done in {duration(seconds)}. The model is in {plan.trained.resolve()}\n"
        f"What was tried, and what changed: {(plan.trained / 'report.html').resolve()}\n"
        "Use it:\n\n"
        "    from sentune import SentenceTransformer\n"
        f"    model = SentenceTransformer({folder})\n"
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
    name: str,
    corpus: steps.Corpus,
    found: Inspection,
    before: Look,
    after: Look,
    result: Result,
    seconds: float,
) -> dict[str, Any]:
    """All results, for `--json`."""
    return {
        "model": name,
        "corpus": {
            "python": platform.python_version(),
            "found": corpus.found,
            "entries": len(corpus.entries),
            "train": len(corpus.train),
            "held_out": len(corpus.held_out),
        },
        "findings": {each.kind: each.count for each in found.findings},
        "before": before.figures,
        "after": after.figures,
        "training": result.to_dict(),
        "searches": [
            {
                "query": query,
                "before": [entry.name for entry in left],
                "after": [entry.name for entry in right],
            }
            for query, left, right in zip(SEARCHES, before.hits, after.hits, strict=True)
        ],
        "seconds": round(seconds, 1),
    }
