"""The card below its front, section by section; a section without facts is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentune.record.model import Result, SentenceTransformerModelCardData
from sentune.record.run import READ_ROWS, DatasetFacts, LossFacts, Run
from sentune.record.words import clean, number, plain
from sentune.share.about import AboutModel
from sentune.share.citations import citations
from sentune.share.front import dataset_ids
from sentune.share.markdown import bullets, code, fenced, folded, table
from sentune.share.usage import usage

_HUB = "https://huggingface.co"
_MOST_LOG_ROWS = 100
_OPEN_LOG_ROWS = 25
_SAMPLES = 3
_UNITS = {"emissions": " g of CO2", "energy_consumed": " kWh", "ram_total_size": " GiB"}
# Figures of the trainer that say nothing of the model.
_NOT_LOGGED = {
    "epoch",
    "step",
    "total_flos",
    "num_input_tokens_seen",
    "learning_rate",
    "grad_norm",
}


@dataclass(frozen=True)
class Subject:
    """All that a card is written from.

    Args:
        card: What was gathered.
        model: The facts of the model.
        name: The model's name.
        place: Where readers have it from; None where that is not known.
        base: Hub id of the model it was made from.
        printed: What the code in the card prints; empty if it was not run.
        versions: Package -> version.
    """

    card: SentenceTransformerModelCardData
    model: AboutModel
    name: str
    place: str | None
    base: str | None
    printed: Sequence[str]
    versions: Mapping[str, str]


def body(subject: Subject) -> str:
    """The card without its front.

    Args:
        subject: What it is written from.
    """
    parts = [f"# {plain(subject.name)}", _intro(subject)]
    for title, section in _SECTIONS:
        if content := section(subject):
            parts += [f"## {title}", content]
    return "\n\n".join(parts) + "\n"


def _intro(subject: Subject) -> str:
    width = subject.model.dimension
    vectors = "vectors" if width is None else f"vectors of {width:,} numbers"
    made = f", made from {_link(subject.base)}" if subject.base else ""
    return (
        f"This model maps sentences and paragraphs to {vectors}{made}. Texts that mean the same "
        f"get vectors that lie close to each other, which serves {plain(subject.card.task)}."
    )


def _model(subject: Subject) -> str:
    card, model = subject.card, subject.model
    languages = [card.language] if isinstance(card.language, str) else card.language or ()
    prompts = ", ".join(f"{code(name)}: {code(text)}" for name, text in model.prompts.items())
    length = "" if model.max_seq_length is None else f"{model.max_seq_length:,} tokens"
    facts = [
        ("Made from", _link(subject.base) if subject.base else ""),
        ("Reads at most", length),
        ("Numbers in a vector", "" if model.dimension is None else f"{model.dimension:,}"),
        ("Compared by", plain(model.similarity)),
        ("Weights", f"{model.parameters:,}"),
        ("Prompts", prompts),
        ("Training data", ", ".join(_link(name, "datasets/") for name in dataset_ids(card))),
        ("Languages", ", ".join(map(plain, languages))),
        ("License", plain(card.license or "")),
    ]
    modules = fenced(model.modules)
    return f"{bullets(facts)}\n\nIts modules, one after the other:\n\n{modules}"


def _use(subject: Subject) -> str:
    return usage(subject.place, subject.model, subject.printed)


def _evaluation(subject: Subject) -> str:
    """A table for each kind of evaluation; data of the same kind side by side."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in subject.card.final_results:
        groups.setdefault((result.kind, *result.metrics), []).append(result)
    parts = []
    for (kind, *metrics), results in groups.items():
        heads = ["Metric", *(plain(result.name) or "Value" for result in results)]
        rows = [
            [_mark(code(metric), metric == results[0].primary)]
            + [
                _mark(number(result.metrics[metric]), metric == results[0].primary)
                for result in results
            ]
            for metric in metrics
        ]
        settings = {k: v for result in results for k, v in result.settings.items()}
        told = f"\n\nSettings: {code(_json(settings))}" if settings else ""
        parts.append(f"### {plain(kind)}{told}\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


def _training(subject: Subject) -> str:
    runs = subject.card.runs
    if not runs:
        return _losses(subject.card.losses)
    parts = []
    for place, run in enumerate(runs, 1):
        if len(runs) > 1:
            parts.append(f"### Run {place} of {len(runs)}")
        level = "####" if len(runs) > 1 else "###"
        parts += [
            f"{level} {title}\n\n{content}" for title, content in _run_sections(run) if content
        ]
    return "\n\n".join(parts)


def _run_sections(run: Run) -> Iterable[tuple[str, str]]:
    yield "Data", "\n\n".join(map(_dataset, run.train))
    yield "Data for the loss on held-out rows", "\n\n".join(map(_dataset, run.eval))
    yield "Loss", _losses(run.losses)
    yield "Settings", _settings(run)
    yield "Log", _log(run)
    yield "Time and hardware", bullets(_effort(run))


def _dataset(data: DatasetFacts) -> str:
    link = "" if data.hub_id is None else _link(data.hub_id, "datasets/", data.revision)
    title = ", ".join(part for part in (plain(data.name), link) if part) or "One dataset"
    size = "" if data.size is None else f", {data.size:,} rows"
    parts = [f"**{title}**{size}"]
    if data.columns:
        rows = [[code(c.name), c.kind, plain(c.about)] for c in data.columns]
        read = READ_ROWS if data.size is None else min(READ_ROWS, data.size)
        parts += [f"Of its first {read} rows:", table(["Column", "Kind", "What is in it"], rows)]
    if data.rows:
        cells = [[plain(value) for value in row.values()] for row in data.rows[:_SAMPLES]]
        parts += ["The first of them:", table([code(name) for name in data.rows[0]], cells)]
    return "\n\n".join(parts)


def _losses(losses: Iterable[LossFacts]) -> str:
    return "\n\n".join(
        ("around " if place else "") + _loss(part)
        for loss in losses
        for place, part in enumerate(loss.nested())
    )


def _loss(loss: LossFacts) -> str:
    if not loss.settings:
        return code(loss.name)
    return f"{code(loss.name)} with\n\n{fenced(_json(loss.settings), 'json')}"


def _settings(run: Run) -> str:
    if not run.settings:
        return ""
    rest = {name: value for name, value in run.settings.items() if name not in run.changed}
    first = _listed(run.changed) or "All settings are as they are by default."
    return f"{first}\n\n{folded('All other settings', _listed(rest))}" if rest else first


def _log(run: Run) -> str:
    """What was logged, a row for each step."""
    steps: dict[int, dict[str, Any]] = {}
    for entry in run.log:
        if "step" in entry and "train_loss" not in entry:  # which sums up the run
            steps.setdefault(entry["step"], {}).update(entry)
    if not steps:
        return ""
    names = dict.fromkeys(k for entry in steps.values() for k in entry if _is_shown(k))
    stride = math.ceil(len(steps) / _MOST_LOG_ROWS)
    rows = [
        [
            _mark(text, step == run.saved_step)
            for text in (
                number(float(entry.get("epoch") or 0)),
                str(step),
                *(number(entry[name]) if name in entry else "" for name in names),
            )
        ]
        for place, (step, entry) in enumerate(sorted(steps.items()), 1)
        # Entries with figures of an evaluation are rare and what a reader looks for.
        if place % stride == 0 or any(k.startswith("eval_") for k in entry) or place == len(steps)
    ]
    content = table(["Epoch", "Step", *map(code, names)], rows)
    if run.saved_step is not None:
        content += "\n\nThe bold row is the model that was kept."
    return content if len(rows) <= _OPEN_LOG_ROWS else folded(f"{len(rows)} rows", content)


def _effort(run: Run) -> Iterable[tuple[str, str]]:
    if run.seconds is not None:
        minutes, seconds = divmod(round(run.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        yield (
            "Time",
            f"{hours} h {minutes} min {seconds} s" if hours else f"{minutes} min {seconds} s",
        )
    yield "Hardware", plain(run.hardware or "")
    yield "Tokens read", "" if run.tokens is None else f"{run.tokens:,}"


def _effects(subject: Subject) -> str:
    """Energy and emissions, as codecarbon measured them."""
    emissions = subject.card.emissions or {}
    return bullets(
        (plain(name.replace("_", " ")), f"{number(value)}{_UNITS.get(name, '')}")
        for name, value in emissions.items()
    )


def _versions(subject: Subject) -> str:
    return bullets((plain(name), plain(version)) for name, version in subject.versions.items())


def _citations(subject: Subject) -> str:
    own = dict.fromkeys(loss.citation for loss in subject.card.all_losses if loss.citation)
    return "\n\n".join(
        fenced(entry, "bibtex") for entry in (*citations(subject.card.loss_names), *own)
    )


_SECTIONS: tuple[tuple[str, Callable[[Subject], str]], ...] = (
    ("The model", _model),
    ("Use", _use),
    ("Evaluation", _evaluation),
    ("Training", _training),
    ("Energy", _effects),
    ("Versions", _versions),
    ("Citation", _citations),
)


def _link(name: str, kind: str = "", revision: str | None = None) -> str:
    at = "" if revision is None else f"/tree/{revision}"
    return f"[{plain(name)}]({_HUB}/{kind}{name}{at})"


def _mark(text: str, is_marked: bool) -> str:
    return f"**{text}**" if is_marked and text else text


def _listed(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"- {code(name)}: {code(_json(v))}" for name, v in settings.items())


def _json(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        lines = [f"  {json.dumps(str(name))}: {_json_line(v)}" for name, v in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}"
    return _json_line(value)


def _json_line(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False, default=str), 500)


def _is_shown(name: str) -> bool:
    is_effort = name.endswith(("_runtime", "_per_second"))
    return name not in _NOT_LOGGED and not is_effort
