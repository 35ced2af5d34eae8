"""The record of a comparison of models: what `run.json` holds and the report is made of."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sentune.record import facts
from sentune.record.run import FILE
from sentune.workbench.measuring.comparison import Comparison
from sentune.workbench.records import run_file
from sentune.workbench.rows.held_out import HeldOut


def record_of(
    found: Comparison,
    rows: HeldOut,
    data: Any,
    train: Any | None,
    seed: int,
    command: str | None = None,
) -> dict[str, Any]:
    """The record of a comparison, as `sentune.report.page` reads it.

    Args:
        found: What was found.
        rows: That it was found on.
        data: Where they are from.
        train: Where the training rows are from; None without any.
        seed: Of the sample and the bootstrap.
        command: That found it; None makes one of models and files.
    """
    counts = {"test": len(rows.rows), "train": 0 if rows.train is None else len(rows.train)}
    return {
        "version": 1,
        "kind": "evaluate",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command or _command(found, data, train),
        "seed": seed,
        "environment": {
            **run_file.versions(),
            "python": platform.python_version(),
            **facts.hardware(),
        },
        "data": {
            "source": [source for one in (data, train) for source in _sources(one)],
            "form": rows.form.name,
            "rows": {**counts, "dev": 0, "dropped": 0},
            "notes": list(found.notes),
        },
        "task": {"metric": found.metric, "explanation": found.explanation, "part": "test"},
        "models": [dict(vars(model)) for model in found.models],
        "differences": [one.to_dict() for one in found.differences],
        "settings": {"seed": seed},
        "log": list(found.notes),
    }


def _sources(data: Any) -> list[dict[str, Any]]:
    """Name and hash of each file; of rows in memory, neither."""
    if data is None:
        return []
    places = data if isinstance(data, (list, tuple)) else [data]
    names = [str(place) for place in places if isinstance(place, (str, Path))]
    return [
        {"name": name, "sha256": run_file.hash_of(name) if Path(name).exists() else None}
        for name in names
    ]


def seen_in_training(models: Sequence[str], data: Any) -> list[dict[str, Any]]:
    """The models that were trained on the rows they are measured on, by their records.

    Args:
        models: Folders or ids of models.
        data: Where the rows are from.

    Returns:
        For each of them "model", as it is named, and "seen", the files.
    """
    asked = {one["sha256"]: one["name"] for one in _sources(data) if one["sha256"]}
    found = []
    for folder in models:
        seen = sorted({asked[known] for known in _hashes_of_training(folder) if known in asked})
        if seen:
            found.append({"model": folder, "seen": seen})
    return found


def words_of_seen(one: Mapping[str, Any]) -> str:
    """The note on such a model."""
    return (
        f"{one['model']} was trained on rows of {', '.join(one['seen'])}: its figure says how well "
        "it remembers them, not how good it is on new texts; measure on rows that it has not seen"
    )


def with_warnings(
    record: Mapping[str, Any], seen: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, Any]:
    """Parts of a record in which the models that have seen the rows are warned of, not noted.

    Args:
        record: Of the comparison.
        seen: Of `seen_in_training`.
        names: What the models are called.
    """
    notes = [*map(words_of_seen, seen)]
    data = record["data"]
    return {
        "warnings": [{**one, "model": names[one["model"]]} for one in seen],
        "data": {**data, "notes": [note for note in data["notes"] if note not in notes]},
    }


def _hashes_of_training(folder: str) -> list[str]:
    """Those of the files that the model in a folder was trained on; empty if nothing is known."""
    path = Path(folder) / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if record["decision"]["kept"] == "start":
            return []
        return [str(one.get("sha256")) for one in record["data"]["source"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def _command(found: Comparison, data: Any, train: Any | None) -> str:
    words = ["sentune", "evaluate", *(model.path for model in found.models)]
    for option, named in (("--data", data), ("--train", train)):
        places = named if isinstance(named, (list, tuple)) else [named]
        names = [str(place) for place in places if isinstance(place, (str, Path))]
        words += [option, *names] if names else []
    return shlex.join(words)


def source_of(data: Any) -> str:
    """Where rows are from, in words."""
    places = data if isinstance(data, (list, tuple)) else [data]
    if not all(isinstance(one, (str, Path)) for one in places):
        return "the given data"
    return ", ".join("standard input" if str(one) == "-" else str(one) for one in places)
