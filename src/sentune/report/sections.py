"""The record as what the template shows: sections with their plots, and a table of contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentune.report import headline, pictures, tables
from sentune.report.words import command, date, is_number, nearby, seconds

Record = dict[str, Any]
Section = dict[str, Any]
Charts = dict[str, Any]  # id -> specification


def view_of(record: Record) -> dict[str, Any]:
    """All that the template needs; `record` has plain values only."""
    plots: Charts = {}
    sections = []
    for key, name, make in _SECTIONS:
        found = make(record, plots)
        if found:
            sections.append({"key": key, "name": name, **found})
    return {
        "title": headline.title(record),
        "kicker": _kicker(record),
        "head": headline.headline(record),
        "facts": headline.facts(record),
        "sections": sections,
        "charts": plots,
        "explains": headline.explanation(record),
        "sides": tables.side_names(record),
        "is_evaluation": record.get("kind") == "evaluate",
        "made_by": _made_by(record),
    }


def _kicker(record: Record) -> list[str]:
    kind = "Evaluation" if record.get("kind") == "evaluate" else "Training report"
    sources = [
        nearby(str(one["name"]))
        for one in tables.dicts(tables.part(record, "data", "source"))
        if one.get("name")
    ]
    return [text for text in (kind, ", ".join(sources), date(record.get("created"))) if text]


def _made_by(record: Record) -> str:
    version = tables.part(record, "environment", "sentune")
    took = record.get("seconds")
    words = f"Made by sentune {version}" if version else "Made by sentune"
    return words + (f" in {seconds(took)}" if is_number(took) else "")


# Each makes its section, puts its plots into the dict, and gives None where there is nothing.


def _models(record: Record, plots: Charts) -> Section | None:
    models = tables.models(record)
    return {"models": models, "differences": tables.differences(record)} if models else None


def _leaderboard(record: Record, plots: Charts) -> Section | None:
    rows = tables.leaderboard(record)
    if not rows:
        return None
    course = pictures.course(record)
    if course:
        plots["course"] = course
    tried = sum(not row["is_start"] for row in rows)
    return {"leaderboard": rows, "tried": tried, "course": "course" if course else None}


def _mixes(record: Record, plots: Charts) -> Section | None:
    rows, spec = pictures.mixes(record)
    if spec:
        plots["mixes"] = spec
    threshold = tables.part(record, "result", "general", "threshold")
    names = {row["name"] for row in rows}
    found = {
        "mixes": rows,
        "has_names": len(names) > 1,
        "mix_plot": "mixes" if spec else None,
        "threshold": threshold,
    }
    return found if rows else None


def _curves(record: Record, plots: Charts) -> Section | None:
    name, found = pictures.curves(record)
    for plot in found:
        plots[plot["id"]] = plot.pop("spec")
    return {"curves": found, "curves_of": name} if found else None


def _scores(record: Record, plots: Charts) -> Section | None:
    panels, groups = pictures.scores(record)
    for panel in panels:
        plots[panel["id"]] = panel.pop("spec")
    return {"score_panels": panels, "score_groups": groups} if panels else None


def _queries(record: Record, plots: Charts) -> Section | None:
    lists: list[dict[str, Any]] = [
        {"kind": kind, "queries": found}
        for kind in ("improved", "worse")
        if (found := tables.queries(tables.part(record, "queries", kind)))
    ]
    if not lists:
        return None
    queries = record["queries"]
    return {
        "query_lists": lists,
        "has_classes": any(
            result["label"]
            for found in lists
            for query in found["queries"]
            for side in query["sides"]
            for result in side["results"]
        ),
        "searched": queries.get("searched"),
        "among": queries.get("among"),
        "counts": queries.get("counts") if isinstance(queries.get("counts"), dict) else {},
    }


def _neighbours(record: Record, plots: Charts) -> Section | None:
    found = tables.neighbours(record)
    return {"neighbours": found} if found else None


def _map(record: Record, plots: Charts) -> Section | None:
    found = pictures.planes(record)
    if not found:
        return None
    specs = found.pop("specs")
    plots |= specs
    plots["map-texts"] = found.pop("hover")
    return found


def _data(record: Record, plots: Charts) -> Section | None:
    lengths = pictures.lengths(record)
    for plot in lengths:
        plots[plot["id"]] = plot.pop("spec")
    found = {
        "data": tables.data(record),
        "columns": tables.columns(record),
        "labels": tables.labels(record),
        "notes": tables.texts(tables.part(record, "data", "notes")),
        "lengths": lengths,
        "losses": tables.rows_of(
            tables.part(record, "data", "inspection", "losses"), "name", "why"
        ),
    }
    return found if any(found.values()) else None


def _findings(record: Record, plots: Charts) -> Section | None:
    inspection = tables.part(record, "data", "inspection")
    if not isinstance(inspection, dict) or "findings" not in inspection:
        return None
    problems = tables.dicts(inspection.get("problems"))
    return {
        "findings": tables.findings(record),
        "problems": [str(one["text"]) for one in problems if one.get("text")],
    }


def _settings(record: Record, plots: Charts) -> Section | None:
    settings = tables.pairs(record.get("settings"))
    environment = tables.pairs(record.get("environment"))
    found = {
        "settings": settings,
        "environment": environment,
        "command": command(record.get("command")),
        "seed": record.get("seed"),
        "log": tables.texts(record.get("log")),
    }
    return found if any(found[name] for name in ("settings", "environment", "command")) else None


_SECTIONS: tuple[tuple[str, str, Callable[[Record, Charts], Section | None]], ...] = (
    ("models", "Models", _models),
    ("tried", "What was tried", _leaderboard),
    ("mixes", "Mixes with the start", _mixes),
    ("curves", "The run", _curves),
    ("scores", "Similarities", _scores),
    ("queries", "Queries", _queries),
    ("neighbours", "Neighbours", _neighbours),
    ("map", "Map", _map),
    ("data", "Data", _data),
    ("findings", "Findings", _findings),
    ("settings", "Settings", _settings),
)
