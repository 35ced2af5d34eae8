"""The front of a card: the facts that the Hub reads, as YAML."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, RepoCard
from huggingface_hub.repocard_data import eval_results_to_model_index

from sentune.hub import fetch as hub
from sentune.record.model import BLOCK, SentenceTransformerModelCardData
from sentune.record.words import clean
from sentune.share.kinds import LIBRARY, CardKind

logger = logging.getLogger(__name__)

_INDEX = "model-index"
_WIDGETS = 5
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")
# The licenses that the Hub knows by name; it refuses a card with another one.
_LICENSES = frozenset(
    """apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m
    bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause
    bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
    cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0
    etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc
    h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl
    lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1
    llama3.2 llama3.3 llama4 grok2-community gemma unknown other""".split()
)


def front_matter(
    card: SentenceTransformerModelCardData, kind: CardKind, name: str, base: str | None
) -> str:
    """The YAML at the front of a new card, with the lines around it."""
    facts = ModelCardData(
        **facts_of(card, name),
        library_name=LIBRARY,
        tags=_tags(card, kind),
        base_model=base,
        pipeline_tag=kind.pipeline_tag,
        widget=_widgets(card, kind) if card.generate_widget_examples else None,
        co2_eq_emissions=card.emissions,
    )
    order = ["language", "license", "license_name", "library_name", "tags", "pipeline_tag"]
    return f"---\n{facts.to_yaml(original_order=order)}\n---\n"


def facts_of(card: SentenceTransformerModelCardData, name: str) -> dict[str, Any]:
    """What the author says of a model, and what evaluators found, under the names of the Hub."""
    facts: dict[str, Any] = {
        "language": _languages(card.language),
        **_license(card.license),
        "datasets": dataset_ids(card) or None,
    }
    if results := list(_results(card)):
        facts["metrics"] = list(dict.fromkeys(result.metric_type for result in results))
        facts[_INDEX] = eval_results_to_model_index(name, results)
    return facts


def listed(given: Any) -> list[Any]:
    """One value or several as a list."""
    return [given] if isinstance(given, (str, Mapping)) else list(given or ())


def dataset_ids(card: SentenceTransformerModelCardData) -> list[str]:
    """Hub ids of the datasets that a model was trained on, each once."""
    given = [d.get("id") if isinstance(d, Mapping) else d for d in card.train_datasets or ()]
    seen = [data.hub_id for run in card.runs for data in run.train]
    return list(dict.fromkeys(name for name in [*given, *seen] if name and hub.is_id(name)))


def with_facts(text: str, facts: Mapping[str, Any], tags: Iterable[str] = ()) -> str:
    """A card whose front says some facts more: lists are added to, other values replace."""
    fresh = {key: value for key, value in {**facts, "tags": list(tags)}.items() if value}
    if not fresh:
        return text
    try:
        # Not as a ModelCard, which would give its results another order.
        card = RepoCard(text if BLOCK.match(text) else f"---\n---\n{text}")
        for key, value in fresh.items():
            join = _with_results if key == _INDEX else _joined
            card.data[key] = join(card.data.get(key), value)
        return str(card)
    except Exception as error:  # a front that is no YAML, or holds strange things
        logger.warning("the front of the model's card cannot be read and stays: %s", error)
        return text


def _joined(old: Any, new: Any) -> Any:
    if not isinstance(new, list):
        return new
    return list(dict.fromkeys([*(old if isinstance(old, list) else [old] if old else []), *new]))


def _with_results(old: Any, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A `model-index` with more results; of the same task and data, the new one counts."""
    is_index = isinstance(old, list) and old and isinstance(old[0], dict)
    results = old[0].get("results") if is_index else None
    if not isinstance(results, list):
        return new
    fresh = new[0]["results"]
    places = [_place_of(result) for result in fresh]
    kept = [result for result in results if _place_of(result) not in places]
    return [{**old[0], "results": [*kept, *fresh]}, *old[1:]]


def _place_of(result: Any) -> tuple[Any, Any]:
    """Task and data of a result."""
    parts = [result.get(key) if isinstance(result, dict) else None for key in ("task", "dataset")]
    task, data = (part if isinstance(part, dict) else {} for part in parts)
    return task.get("type"), data.get("name")


def _languages(given: Any) -> list[str] | None:
    names = listed(given)
    fitting = [name for name in names if isinstance(name, str) and _LANGUAGE.fullmatch(name)]
    if len(fitting) < len(names):
        logger.warning(
            "the card leaves out the languages %s: the Hub wants codes as 'en' or 'multilingual'",
            [name for name in names if name not in fitting],
        )
    return fitting or None


def _license(given: Any) -> dict[str, str]:
    if not given:
        return {}
    name = clean(given).lower()
    if name in _LICENSES:
        return {"license": name}
    # The Hub's way to name one that it does not know.
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.-]+", "-", name).strip("-")}


def _tags(card: SentenceTransformerModelCardData, kind: CardKind) -> list[str]:
    found = [*kind.tags, *(clean(tag, 96) for tag in card.tags or ())]
    if card.runs:
        found.append("generated_from_trainer")
    if size := sum(run.size for run in card.runs):
        found.append(f"dataset_size:{size}")
    found += [f"loss:{name}" for name in card.loss_names]
    return list(dict.fromkeys(tag for tag in found if tag))


def _widgets(card: SentenceTransformerModelCardData, kind: CardKind) -> list[dict[str, Any]] | None:
    """Examples to try on the model's page, from the first rows of the training data."""
    if not kind.examples:
        return None
    data = next((data for run in reversed(card.runs) for data in run.train if data.rows), None)
    rows = [[c for c in row if isinstance(c, str) and c] for row in (data.rows if data else ())]
    texts = [row for row in rows if row]
    found = []
    for place, (source, *others) in enumerate(texts[:_WIDGETS]):
        others += [row[-1] for row in (texts[place + 1 :] + texts[:place])]
        sentences = [text for text in dict.fromkeys(others) if text != source][:3]
        if sentences:
            found.append({"source_sentence": source, "sentences": sentences})
    source, *others = kind.examples
    return found or [{"source_sentence": source, "sentences": others}]


def _results(card: SentenceTransformerModelCardData) -> Iterable[EvalResult]:
    for result in card.final_results:
        kind = re.sub(r"[^a-z0-9]+", "-", result.kind.lower()).strip("-") or "evaluation"
        for metric, value in result.metrics.items():
            if isinstance(value, float) and math.isfinite(value):
                yield EvalResult(
                    task_type=kind,
                    task_name=clean(result.kind),
                    dataset_type=clean(result.name, 96) or "unknown",
                    dataset_name=clean(result.name, 96) or "unknown",
                    metric_type=clean(metric, 96),
                    metric_name=clean(metric, 96).replace("_", " ").capitalize(),
                    metric_value=value,
                )
