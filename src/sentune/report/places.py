"""Where files lie on a machine is not shown: of absolute paths only the last part."""

from __future__ import annotations

from typing import Any

from sentune.report.tables import dicts, part, texts
from sentune.report.words import nearby

Record = dict[str, Any]

# Of the settings of a run, those that may be places; all others are shown as they are.
SETTINGS = ("model", "output", "data", "dev", "test", "config", "skip_bad_rows")


def without_places(record: Record) -> Record:
    """The record with the places it names shortened in settings, notes, reasons and log.

    Other texts, as those of the data, stay as they are, whatever they begin with.
    """
    places = _places(record)
    found = {**record}
    for name in ("log", "leaderboard"):
        found[name] = _shortened(record.get(name), places)
    if isinstance(record.get("settings"), dict):
        found["settings"] = {
            name: _shortened(value, places) if name in SETTINGS else value
            for name, value in record["settings"].items()
        }
    if isinstance(record.get("decision"), dict):
        found["decision"] = _shortened(record["decision"], places)
    if isinstance(record.get("data"), dict):
        notes = _shortened(record["data"].get("notes"), places)
        found["data"] = {**record["data"], "notes": notes}
    return {name: value for name, value in found.items() if name in record}


def _places(record: Record) -> dict[str, str]:
    """Places -> how they are shown, the longest first."""
    named = [one.get("name") for one in dicts(part(record, "data", "source"))]
    named += [one.get("path") for one in dicts(record.get("models"))]
    for name in SETTINGS:
        value = part(record, "settings", name)
        named += texts(value) if isinstance(value, list) else [value]
    found = {place for place in named if isinstance(place, str) and nearby(place) != place}
    return {place: nearby(place) for place in sorted(found, key=len, reverse=True)}


def _shortened(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, str):
        for place, shown in places.items():
            value = value.replace(place, shown)
        return value
    if isinstance(value, list):
        return [_shortened(one, places) for one in value]
    if isinstance(value, dict):
        return {name: _shortened(one, places) for name, one in value.items()}
    return value
