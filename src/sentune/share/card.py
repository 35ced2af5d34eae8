"""The model card: what is known of a model, its runs and its results -> README.md.

Nothing here asks the Hub, and nothing is encoded but the sentences of the card's own code.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from markupsafe import Markup

from sentune.data.statistics import Column
from sentune.errors import InputError
from sentune.hub import fetch as hub
from sentune.record.citations import by_loss, citations
from sentune.record.facts import versions
from sentune.record.logs import OF_THE_TRAINER
from sentune.record.model import BLOCK
from sentune.record.run import Result, Run
from sentune.record.words import clean
from sentune.share.data import SentenceTransformerModelCardData
from sentune.share.front import dataset_ids, facts_of, front_matter, with_facts
from sentune.share.kinds import CardKind, example_of, kind_of
from sentune.share.known import TEMPLATE, Known, listed
from sentune.share.mark import marked, still_marked
from sentune.share.markdown import FILTERS, bold, code, escaped, link, number

logger = logging.getLogger(__name__)

_EMOJI = "\U0001f917"  # of the Hub, which templates of cards may show
_NOWHERE = "path/to/this/model"
# What stands for the address in code of cards that were made before there was one.
_UNKNOWN = (_NOWHERE, "sentence_transformers_model_id")
_MOST_LOG_ROWS = 100
_WIDEST_SETTING = 60
_TITLE = re.compile(r"(?:(?!```|# ).*\n)*# (.+)")  # not in code
_UNITS = {"emissions": " g of CO2", "energy_consumed": " kWh", "ram_total_size": " GiB"}


def text(
    model: Any,
    *,
    model_name: str | None = None,
    train_datasets: Sequence[Any] | None = None,
    model_id: str | None = None,
    step: int | None = None,
) -> str | None:
    """The card of a model; None if none can be written, which is logged.

    A model that was loaded and not trained keeps the card it came with; what its author says beyond
    that, and what evaluators found, is added to the front of it. `train_datasets` are ids besides
    those that are known. `step`: of the last run, the step that the card is about where the model
    in memory went on from it; nothing is encoded then.
    """
    try:
        card: Any = copy(model.model_card_data or SentenceTransformerModelCardData())
        if card.model is not model:  # set after the model was made
            card.register_model(model)
        card.model_name = model_name or card.model_name
        card.model_id = model_id or card.model_id
        card.train_datasets = [*listed(card.train_datasets), *listed(train_datasets)]
        if step is not None and card.runs:
            card.runs = [*card.runs[:-1], replace(card.runs[-1], saved_step=step)]
            card.is_running = True  # as far as the weights at hand are concerned
        if card.loaded_card is not None and not card.runs and not card.losses:
            name = clean(card.model_name or card.model_id or kind_of(model).title, 96)
            return still_marked(card.loaded_card, partial(_with_more, card=card, name=name))
        if Path(card.template_path) != TEMPLATE:
            return str(ModelCard.from_template(card, str(card.template_path), hf_emoji=_EMOJI))
        return _new_card(card, model)
    except Exception:  # a card is not worth a save
        logger.warning("no card can be written for the model", exc_info=True)
        return None


def _new_card(card: Known, model: Any) -> str:
    kind = kind_of(model)
    encoder = hub.origin(getattr(getattr(model, "config", None), "_name_or_path", None)) or (None,)
    base = next(filter(hub.is_id, (card.base_model, encoder[0])), None)
    own = (card.model_id or "").rpartition("/")[2]
    title = f"{kind.noun} from {base}" if base else kind.title
    name = card.model_name or own or title
    emissions = card.get_codecarbon_data().get("co2_eq_emissions", {})
    is_usual = card.task_name in ("", None, type(card).task_name)
    example = example_of(model, card.usage_examples, card.is_search)
    body = template().render(
        card=card,
        runs=_runs(card),
        serves=kind.serves if is_usual else card.task_name,
        model=model,
        kind=kind,
        name=name,
        base=base,
        place=clean(_address(card) or _NOWHERE),
        facts=_facts(card, kind, model, base),
        modules=_described(model),
        code=Markup(example.shown([] if card.is_running else example.printed(model))),
        alone=kind.alone(model),
        evaluations=_evaluations(card.final_results),
        emissions=[
            (name.replace("_", " "), Markup(f"{number(value)}{_UNITS.get(name, '')}"))
            for name, value in emissions.items()
        ],
        versions=versions(),
        citations=_citations(card),
    )
    return marked(f"{front_matter(card, kind, name, base)}\n{body}")


def _address(card: Known) -> str | None:
    """The model's id on the Hub, as far as known."""
    return card.model_id or (card.model_name if hub.is_id(card.model_name) else None)


def _with_more(text: str, card: Known, name: str) -> str:
    """The text of a card that is kept, with what is known besides."""
    address = _address(card)
    text = _addressed(text, address) if address else text
    return with_facts(text, facts_of(card, name), card.own_tags)


def with_address(text: str, address: str) -> str:
    """The text of a card with an address on the Hub in its code, where it had none yet."""
    return still_marked(text, partial(_addressed, address=address))


def _addressed(text: str, address: str) -> str:
    for unknown in _UNKNOWN:
        text = text.replace(f'"{unknown}"', f'"{clean(address)}"')
    return text


def with_title(text: str, name: str) -> str | None:
    """The text of a card with another title; None if it has none, a line that begins with "# "."""
    front = BLOCK.match(text)
    start = front.end() if front is not None else 0
    found = _TITLE.match(text, start)
    if found is None:
        return None
    return still_marked(text, lambda _: f"{text[: found.start(1)]}{name}{text[found.end(1) :]}")


@cache
def template() -> Any:
    """The card below its front, as a template in which every value is escaped."""
    from jinja2 import Environment, StrictUndefined  # it takes time to import

    environment = Environment(
        autoescape=True,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {**FILTERS, "statistics": _statistics}
    environment.globals["log_table"] = _log_table
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _facts(card: Known, kind: CardKind, model: Any, base: str | None) -> list[tuple[str, Any]]:
    length = model.max_seq_length
    prompts = [(name, text) for name, text in model.prompts.items() if text]
    return [
        ("Made from", link(base) if base else ""),
        ("Reads at most", "" if length is None else f"{length:,} tokens"),
        *kind.facts(model),
        ("Weights", number(sum(parameter.numel() for parameter in model.parameters()))),
        ("Prompts", [Markup(f"{code(name)}: {code(text)}") for name, text in prompts]),
        ("Training data", [link(name, "datasets/") for name in dataset_ids(card)]),
        ("Languages", listed(card.language)),
        ("License", card.license or ""),
    ]


def _described(model: Any) -> str:
    """The modules of a model in words, a line each."""
    children = model.named_children()
    lines = [f"  ({name}): {line}" for name, module in children for line in _lines_of(module)]
    return "\n".join([f"{type(model).__name__}(", *lines, ")"])


def _lines_of(module: Any) -> Iterator[str]:
    settings = module.settings() if hasattr(module, "settings") else {}
    words = [f"{name}={_shown(value)}" for name, value in settings.items()]
    encoder = getattr(module, "auto_model", None)
    if encoder is not None:
        words.insert(0, type(encoder).__name__)
    yield f"{type(module).__name__}({', '.join(words)})"
    for route, parts in getattr(module, "sub_modules", {}).items():
        for part in parts:
            yield from (f"  [{route}] {line}" for line in _lines_of(part))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)) and len(value) > 20:
        return f"<{len(value)} entries>"
    text = repr(value)
    return text if len(text) <= _WIDEST_SETTING else f"{text[: _WIDEST_SETTING - 3]}..."


def _runs(card: Known) -> list[Run]:
    """The runs, the last one with what was added to its log; or what was set without a run."""
    added = [
        {"epoch": row.get("Epoch"), "step": row.get("Step", 0), **_others(row)}
        for row in card.added_logs
    ]
    last = replace(card.last_run, log=[*card.last_run.log, *added])
    return [*card.runs[:-1], last] if card.runs or last.settings or last.log else []


def _citations(card: Known) -> list[str]:
    """The papers behind the losses, each once; what losses of users bring; what was set."""
    known, usual = citations(card.loss_names), by_loss(card.loss_names)
    own = [loss.citation for loss in card.all_losses if loss.citation]
    own += [text for name, text in card.citations.items() if usual.get(name) != text]
    return known + [
        text for text in dict.fromkeys(own) if not set(text.split("\n\n")) <= set(known)
    ]


def _others(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("Epoch", "Step")}


def _evaluations(results: Sequence[Result]) -> list[tuple[list[Result], dict[str, Any]]]:
    """The results of each kind, which share a table, and the settings of their evaluators."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault((result.kind, *result.metrics, *result.beside), []).append(result)
    return [
        (group, {name: value for result in group for name, value in result.settings.items()})
        for group in groups.values()
    ]


def _log_table(run: Run) -> tuple[list[Any], list[list[Any]]]:
    """What was logged: heads, and a row for each step; of very many steps a part."""
    steps: dict[int, dict[str, Any]] = {}
    for entry in run.log:
        if "step" in entry and "train_loss" not in entry:  # which sums up the run
            steps.setdefault(entry["step"], {}).update(entry)
    names = dict.fromkeys(name for entry in steps.values() for name in entry)
    shown = [name for name in names if not OF_THE_TRAINER.fullmatch(name)]
    stride = math.ceil(len(steps) / _MOST_LOG_ROWS)
    rows = []
    for place, (step, entry) in enumerate(sorted(steps.items()), 1):
        # Entries with figures of an evaluation are rare and what a reader looks for.
        is_evaluation = any(name.startswith("eval_") for name in entry)
        if is_evaluation or place % stride == 0 or place == len(steps):
            figures = (number(entry[name]) if name in entry else "" for name in shown)
            cells = (number(float(entry.get("epoch") or 0)), step, *figures)
            rows.append([bold(cell, step == run.saved_step) for cell in cells])
    return ["Epoch", "Step", *map(code, shown)], rows


def _statistics(column: Column) -> str:
    """What is in a column, in words."""
    if column.counts:
        total = sum(column.counts.values())
        shares = sorted(column.counts.items())
        return ", ".join(f"{value}: {count / total:.0%}" for value, count in shares)
    unit = {"text": " characters", "list": " entries"}.get(column.kind, "")
    spread, unit = (column.tokens, " tokens") if column.tokens.count else (column.sizes, unit)
    if not spread.count:
        return ""
    return f"{number(spread.low)} to {number(spread.high)}, on average {spread.mean:.4g}{unit}"


def generate_model_card(model: Any) -> str:
    """The card of a model; an `InputError` if none can be written."""
    found = text(model)
    if found is None:
        raise InputError("no card can be written for the model; the log says why")
    return found
