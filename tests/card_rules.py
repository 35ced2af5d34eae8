"""What the Hub asks of the front of a card, for checks without the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

# As in the Hub's own code, which its client quotes.
BLOCK = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
LANGUAGE = r"[a-z]{2,3}(-\w+)*|code|multilingual"
ID = r"[\w.-]+(/[\w.-]+)?"


def card_faults(content: str) -> list[str]:
    """What the Hub finds wrong in the front of a card: the rules that its documentation names."""
    found = BLOCK.match(content)
    if not found:
        return []
    try:
        facts = yaml.safe_load(found[2])
    except yaml.YAMLError as error:
        return [f"YAML: {error}"]
    if not isinstance(facts, dict):
        return ["the front must be a mapping"]
    return [*_wrong_names(facts), *_wrong_results(facts)]


def _wrong_names(facts: dict) -> Iterator[str]:
    patterns = {"language": LANGUAGE, "datasets": ID, "base_model": ID, "license": r"[\w.+-]+"}
    for key, pattern in {**patterns, "tags": r"(?s).+", "metrics": r"(?s).+"}.items():
        given = facts.get(key, [])
        for name in [given] if isinstance(given, str) else given:
            if not isinstance(name, str) or not re.fullmatch(pattern, name):
                yield f'"{key}" {name!r} is not valid'


def _wrong_results(facts: dict) -> Iterator[str]:
    for model in facts.get("model-index", []):
        if not model.get("name"):
            yield '"model-index" needs a name'
        for result in model.get("results", []):
            data = result.get("dataset", {})
            if not (result.get("task", {}).get("type") and data.get("name") and data.get("type")):
                yield '"model-index" needs names and types'
            for metric in result.get("metrics", []):
                if not metric.get("type") or not isinstance(metric.get("value"), (int, float)):
                    yield '"model-index" needs the type and value of each metric'
