"""The front of a card: the facts that the Hub reads, as YAML."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, RepoCard
from huggingface_hub.repocard_data import eval_results_to_model_index

from sentune.errors import SettingError
from sentune.hub import fetch as hub
from sentune.record.model import BLOCK
from sentune.record.run import DatasetFacts
from sentune.record.words import clean
from sentune.share.kinds import CardKind
from sentune.share.known import Known, listed

logger = logging.getLogger(__name__)

_INDEX = "model-index"
_WIDGETS = 5
_FRONT = """language license license_name library_name tags pipeline_tag datasets metrics
    model-index base_model widget co2_eq_emissions""".split()
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


def front_matter(card: Known, kind: CardKind, name: str, base: str | None) -> str:
    """The YAML at the front of a new card, with the lines around it."""
    return f"---\n{as_yaml(facts(card, kind, name, base))}\n---\n"


def facts(card: Known, kind: CardKind, name: str, base: str | None) -> dict[str, Any]:
    """All that the front of a new card says."""
    is_default = card.pipeline_tag == type(card).pipeline_tag
    return {
        **facts_of(card, name),
        "library_name": card.library_name,
        "tags": _tags(card, kind),
        "base_model": base,
        "pipeline_tag": kind.pipeline_tag if is_default else card.pipeline_tag,
        "widget": (card.widget or _examples(kind)) if card.generate_widget_examples else None,
        "co2_eq_emissions": card.get_codecarbon_data().get("co2_eq_emissions"),
    }


def as_yaml(told: Mapping[str, Any], line_break: str | None = None) -> str:
    """What is for the front of a card, as YAML."""
    front = ModelCardData(**{name: told[name] for name in _FRONT if name in told})
    return str(front.to_yaml(line_break, _FRONT[:6]))


def facts_of(card: Known, name: str) -> dict[str, Any]:
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


def dataset_ids(card: Known) -> list[str]:
    """Hub ids of the datasets that a model was trained on, each once."""
    given = [d.get("id") if isinstance(d, Mapping) else d for d in card.train_datasets or ()]
    seen = [data.hub_id for run in card.runs for data in run.train]
    given += card.datasets
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


def fault_of(text: str) -> str:
    """Why nothing can be added to the front of a card; "" if it can, or there is no front."""
    try:
        if BLOCK.match(text):
            RepoCard(text)
    except Exception as error:  # of the YAML, or of what the Hub's client makes of it
        return " ".join(str(error).split())
    return ""


def check(language: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
    """Raise a SettingError for what a card cannot say.

    Args:
        language: Codes of languages.
        datasets: Ids of datasets on the Hub.
    """
    for code in language:
        if not _LANGUAGE.fullmatch(code):
            raise SettingError(
                f"{code!r} is no code of a language; the Hub wants 'en', 'pt-BR', 'code' or "
                "'multilingual', one for each language"
            )
    for name in datasets:
        if not hub.is_id(name):
            raise SettingError(
                f"{name!r} is no id of a dataset on the Hub; give it as owner/name, or leave it out"
            )


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


def _tags(card: Known, kind: CardKind) -> list[str]:
    found = [*kind.tags, *(clean(tag, 96) for tag in card.own_tags)]
    return list(dict.fromkeys(tag for tag in found if tag))


def widgets(data: Iterable[DatasetFacts]) -> list[dict[str, Any]]:
    """Examples to try on the model's page, from the first rows of the first dataset with any."""
    rows = next((one.rows for one in data if one.rows), ())
    texts = [kept for row in rows if (kept := [c for c in row if isinstance(c, str) and c])]
    found = []
    for place, (source, *others) in enumerate(texts[:_WIDGETS]):
        others += [row[-1] for row in (texts[place + 1 :] + texts[:place])]
        sentences = [text for text in dict.fromkeys(others) if text != source][:3]
        if sentences:
            found.append({"source_sentence": source, "sentences": sentences})
    return found


def _examples(kind: CardKind) -> list[dict[str, Any]] | None:
    """Examples for the page of a model whose training has none."""
    source, *others = kind.examples or ("",)
    return [{"source_sentence": source, "sentences": others}] if others else None


def _results(card: Known) -> Iterable[EvalResult]:
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
