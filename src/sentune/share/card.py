"""The model card: what is known of a model, its runs and its results -> README.md.

Nothing here asks the Hub, and nothing is encoded but the sentences of the card's own code.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sentune.data.statistics import Column
from sentune.hub import fetch as hub
from sentune.record.citations import citations
from sentune.record.facts import versions
from sentune.record.model import SentenceTransformerModelCardData
from sentune.record.run import Result, Run
from sentune.record.words import clean
from sentune.share.front import dataset_ids, facts_of, front_matter, listed, with_facts
from sentune.share.kinds import CardKind, code_of, kind_of
from sentune.share.markdown import FILTERS, bold, code, escaped, link, number

logger = logging.getLogger(__name__)

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_NOWHERE = "path/to/this/model"
_MOST_LOG_ROWS = 100
_WIDEST_SETTING = 60
_UNITS = {"emissions": " g of CO2", "energy_consumed": " kWh", "ram_total_size": " GiB"}
# Figures of the trainer that say nothing of the model.
_NOT_LOGGED = re.compile(
    "epoch|step|total_flos|num_input_tokens_seen|learning_rate|grad_norm|.*(_runtime|_per_second)"
)


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
        card = copy(model.model_card_data or SentenceTransformerModelCardData())
        card.model_name = model_name or card.model_name
        card.model_id = model_id or card.model_id
        card.train_datasets = [*listed(card.train_datasets), *listed(train_datasets)]
        if step is not None and card.runs:
            card.runs = [*card.runs[:-1], replace(card.runs[-1], saved_step=step)]
            card.is_running = True  # as far as the weights at hand are concerned
        if card.loaded_card is not None and not card.runs and not card.losses:
            name = clean(card.model_name or card.model_id or kind_of(model).title, 96)
            return with_facts(card.loaded_card, facts_of(card, name), card.tags or ())
        return _new_card(card, model)
    except Exception:  # a card is not worth a save
        logger.warning("no card can be written for the model", exc_info=True)
        return None


def _new_card(card: SentenceTransformerModelCardData, model: Any) -> str:
    kind = kind_of(model)
    encoder = hub.origin(getattr(getattr(model, "config", None), "_name_or_path", None)) or (None,)
    base = next(filter(hub.is_id, (card.base_model, encoder[0])), None)
    own = (card.model_id or "").rpartition("/")[2]
    title = f"{kind.noun} from {base}" if base else kind.title
    name = card.model_name or own or title
    named = card.model_name if hub.is_id(card.model_name) else None
    body = template().render(
        card=card,
        model=model,
        kind=kind,
        name=name,
        base=base,
        place=clean(card.model_id or named or _NOWHERE),
        facts=_facts(card, kind, model, base),
        modules=_described(model),
        code=Markup(code_of(kind, model, is_run=not card.is_running)),
        alone=kind.alone(model),
        evaluations=_evaluations(card.final_results),
        emissions=[
            (name.replace("_", " "), Markup(f"{number(value)}{_UNITS.get(name, '')}"))
            for name, value in (card.emissions or {}).items()
        ],
        versions=versions(),
        citations=_citations(card),
    )
    return f"{front_matter(card, kind, name, base)}\n{body}"


def _citations(card: Any) -> list[str]:
    """The papers behind the losses, each once, and what losses of users bring themselves."""
    known = citations(card.loss_names)
    own = dict.fromkeys(loss.citation for loss in card.all_losses if loss.citation)
    return known + [text for text in own if not set(text.split("\n\n")) <= set(known)]


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
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))


def _facts(
    card: SentenceTransformerModelCardData, kind: CardKind, model: Any, base: str | None
) -> list[tuple[str, Any]]:
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


def _evaluations(results: Sequence[Result]) -> list[tuple[list[Result], dict[str, Any]]]:
    """The results of each kind, which share a table, and the settings of their evaluators."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault((result.kind, *result.metrics), []).append(result)
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
    shown = [name for name in names if not _NOT_LOGGED.fullmatch(name)]
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
