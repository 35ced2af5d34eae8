"""A few figures beside the headline."""

from __future__ import annotations

from typing import Any

from sentune.report.division import division
from sentune.report.tables import part
from sentune.report.words import beside, count, figure, is_number, named, plural, seconds

Record = dict[str, Any]


def facts(record: Record) -> list[dict[str, str]]:
    """A few figures beside the headline: label, value and a note."""
    made = (_kept, _general, _rows, _time)
    return [found for make in made if (found := make(record))]


def _kept(record: Record) -> dict[str, str] | None:
    decision = record.get("decision")
    if not isinstance(decision, dict):
        return None
    if decision.get("kept") == "start":
        return {"label": "Kept", "value": "the start", "note": "its weights are unchanged"}
    alpha, name = decision.get("alpha"), decision.get("candidate")
    mix = f"{alpha:.0%} of its weights" if is_number(alpha) else ""
    rest = f", {1 - alpha:.0%} of the start" if is_number(alpha) and alpha < 1 else ""
    return {"label": "Kept", "value": named(name or "trained"), "note": mix + rest}


def _general(record: Record) -> dict[str, str] | None:
    general = part(record, "result", "general")
    if not isinstance(general, dict) or not is_number(general.get("agreement")):
        return None
    threshold = general.get("threshold")
    least = f"at least {figure(threshold)} is needed" if is_number(threshold) else ""
    return {
        "label": "Knowledge kept",
        "value": beside(general["agreement"], threshold),
        "note": least or "agreement with the start on general texts",
    }


def _rows(record: Record) -> dict[str, str] | None:
    uses = division(record)
    if not uses:
        return None
    first, *rest = uses
    notes = [_part_words(one) for one in rest if one["key"] != "dropped"]
    return {
        "label": f"Rows to {first['use']}",
        "value": count(first["rows"]),
        "note": " · ".join([first["how"], *notes] if first["how"] else notes),
    }


def _part_words(one: Record) -> str:
    words = f"{count(one['rows'])} {one['name']}"
    return f"{words}, {one['how']}" if one["how"] else words


def _time(record: Record) -> dict[str, str] | None:
    if not is_number(record.get("seconds")):
        return None
    cores = part(record, "environment", "cores")
    note = f"on {plural(cores, 'core')}" if is_number(cores) else ""
    return {"label": "Time", "value": seconds(record["seconds"]), "note": note}
