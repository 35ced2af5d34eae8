"""What a model's folder says of where it comes from: its card, its runs, who wrote its files."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sentune.errors import ModelFileError, SentuneError
from sentune.folders.folder import ModelFolder
from sentune.folders.names import MODEL_FILE, MODULES_FILE
from sentune.record.model import BLOCK
from sentune.record.run import FILE, Run

logger = logging.getLogger(__name__)

# The results of a benchmark in the front of a card, which can take seconds to parse.
_RESULTS = re.compile(r"^(model-index|widget):.*?(?=^[A-Za-z_]|\Z)", re.MULTILINE | re.DOTALL)
# Packages that the classes named in modules.json have lived in, and the releases that wrote them.
_GENERATIONS = {
    "sentence_transformers.models.": "2.x to 5.3",
    "sentence_transformers.base.": "5.4 and later",
    "sentence_transformers.sentence_transformer.": "5.4 and later",
    "sentence_transformers.cross_encoder.": "5.4 and later",
}
ORIGIN = "origin"  # in the record of `sentune train`
_WRITERS = {"sentence_transformers": "sentence-transformers", "pytorch": "torch"}


@dataclass(frozen=True)
class History:
    """Where a model comes from.

    Attributes:
        written_by: Package -> version, of those that wrote the files; empty if they do not say it.
        format: The generation of the file format, in words.
        base_model: What it was made from; None if nothing says it.
        datasets: Names of the data that it was trained on, as its card and its runs name them.
        runs: A sentence for each recorded training run.
        license: As the card names it.
        languages: As the card names them.
    """

    written_by: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    base_model: str | None = None
    datasets: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    license: str | None = None
    languages: tuple[str, ...] = ()


def history_of(folder: ModelFolder, card: str | None) -> History:
    """What a folder says of where its model comes from; `card` is its README.md."""
    front = front_of(card or "")
    datasets, runs = _runs(folder)
    bases = listed(front.get("base_model"))
    return History(
        written_by=_writers(folder),
        format=_format(folder),
        base_model=bases[0] if bases else None,
        datasets=tuple(dict.fromkeys([*listed(front.get("datasets")), *datasets])),
        runs=tuple(runs),
        license=next(iter(listed(front.get("license_name") or front.get("license"))), None),
        languages=tuple(listed(front.get("language"))),
    )


def origin_in(folder: ModelFolder) -> dict[str, Any]:
    """What the record of `sentune train` says of the model that was the start; {} for nothing."""
    try:
        found = (folder.read_json(FILE, dict) or {}).get(ORIGIN)
    except ModelFileError:
        return {}
    return found if isinstance(found, dict) else {}


def _writers(folder: ModelFolder) -> dict[str, str]:
    said = (folder.read_json(MODEL_FILE, dict) or {}).get("__version__")
    versions = said if isinstance(said, dict) else {}
    # sentune marks its files with the oldest release that reads them, and names itself beside it.
    ours = {name: value for name, value in versions.items() if name != "sentence_transformers"}
    return {
        _WRITERS.get(name, name): str(value)
        for name, value in (ours if "sentune" in versions else versions).items()
    }


def _format(folder: ModelFolder) -> str:
    entries = folder.read_json(MODULES_FILE, list)
    if entries is None:
        return "a checkpoint of the transformers library, without modules.json"
    types = [str(entry.get("type")) for entry in entries if isinstance(entry, dict)]
    found = [
        when
        for start, when in _GENERATIONS.items()
        if any(name.startswith(start) for name in types)
    ]
    when = found[-1] if found else "another kind"
    return f"that of sentence-transformers {when}"


def front_of(card: str) -> dict[str, Any]:
    """The facts at the front of a card; empty if it has none, or they cannot be read."""
    from huggingface_hub import RepoCard  # it takes time to import

    found = BLOCK.match(card)
    if found is None:
        return {}
    try:
        front = _RESULTS.sub("", found[2])
        return RepoCard(f"---\n{front}\n---\n").data.to_dict()
    except Exception as error:  # a front that is no YAML, or holds strange things
        logger.debug("the front of the card cannot be read: %s", error)
        return {}


def listed(value: Any) -> list[str]:
    """One value or several of the front of a card, as texts."""
    values = value if isinstance(value, list) else [] if value in (None, "") else [value]
    return [str(one) for one in values if isinstance(one, (str, int))]


def _runs(folder: ModelFolder) -> tuple[list[str], list[str]]:
    """Names of training data, and a sentence for each run that `run.json` records."""
    try:
        found = folder.read_json(FILE, dict)
        if found is None:
            return [], []
        if "kind" in found:
            return _of_record(found)
        return _of_run(Run.from_dict(found))
    except (SentuneError, ValueError, TypeError, LookupError, AttributeError) as error:
        return [], [f"{FILE} cannot be read: {error}"]


def _of_record(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Those of a run that chose by itself what to do (`sentune train`)."""
    data, decision = record.get("data") or {}, record.get("decision") or {}
    is_trained = decision.get("kept") == "trained"
    names = [str(source["name"]) for source in data.get("source") or () if is_trained]
    rows = (data.get("rows") or {}).get("train")
    size = f" on {rows:,} rows" if rows else ""
    kept = decision.get("candidate") or "what was trained" if is_trained else "the start"
    reason = decision.get("reason") or "no reason is recorded"
    return names, [f"sentune train{size} kept {kept}: {reason}"]


def _of_run(run: Run) -> tuple[list[str], list[str]]:
    names = [data.hub_id or data.name for data in run.train if data.hub_id or data.name]
    losses = ", ".join(loss.name for loss in run.losses) or "an unknown loss"
    steps = f", {run.steps:,} steps" if run.steps else ""
    return names, [f"{losses} on {run.size:,} rows{steps}"]
