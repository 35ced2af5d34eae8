"""The record as what the template shows: sections with their plots, and a table of contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentune.report import division, headline, pictures, standing, tables
from sentune.report.cautions import cautions
from sentune.report.facts import facts
from sentune.report.places import without_places
from sentune.report.words import beside, command, date, is_number, named, nearby, seconds

Record = dict[str, Any]
Section = dict[str, Any]
Charts = dict[str, Any]  # id -> specification


def view_of(record: Record) -> dict[str, Any]:
    """All that the template needs; `record` has plain values only."""
    record = without_places(record)
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
        "cautions": cautions(record),
        "facts": facts(record),
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
    if not models:
        return None
    is_alone = standing.is_alone(record)
    return {"models": models, "differences": tables.differences(record), "is_alone": is_alone}


def _leaderboard(record: Record, plots: Charts) -> Section | None:
    rows = tables.leaderboard(record)
    if not rows:
        return None
    course = pictures.course(record)
    if course:
        plots["course"] = course
    own = [row for row in rows if not row["is_start"] and not row["is_average"]]
    return {
        "leaderboard": rows,
        "tried": sum(bool(row["rounds"]) for row in own),
        "untried": sum(not row["rounds"] for row in own),
        "choosing": division.choosing_rows(record),
        "course": "course" if course else None,
        "main": _main(record),
    }


def _main(record: Record) -> str:
    """Which lines of the race stand out, in words."""
    if tables.is_start_kept(record):
        return "The best one is blue"
    if len(pictures.members(record)) > 1:
        return "Those whose average was kept are blue"
    return "The candidate that was kept is blue"


def _mixes(record: Record, plots: Charts) -> Section | None:
    rows, spec = pictures.mixes(record)
    if spec:
        plots["mixes"] = spec
    threshold = tables.part(record, "result", "general", "threshold")
    for row in rows:
        row["agreement"] = beside(row["agreement"], threshold)
    names = {row["name"] for row in rows}
    found = {
        "mixes": rows,
        "has_names": len(names) > 1,
        "mix_plot": "mixes" if spec else None,
        "threshold": threshold,
        "has_kept": any(row["is_kept"] for row in rows),
    }
    return found if rows else None


def _curves(record: Record, plots: Charts) -> Section | None:
    name, found = pictures.curves(record)
    for plot in found:
        plots[plot["id"]] = plot.pop("spec")
    return {"curves": found, "curves_of": _curves_of(record, name)} if found else None


def _curves_of(record: Record, name: Any) -> str:
    """Whose curves they are: one training of those that were averaged, where there are several."""
    members, folds = pictures.members(record), division.folds_of(record)
    words = named(name)
    if len(members) > 1:
        words += f", one of the {len(members)} that were averaged,"
    if folds > 1:
        words += f" on the last of its {folds} parts"
    return f"How the training of {words} went, step by step."


def _scores(record: Record, plots: Charts) -> Section | None:
    panels, groups = pictures.scores(record)
    for panel in panels:
        plots[panel["id"]] = panel.pop("spec")
    if not panels:
        return None
    names = set(tables.part(record, "scores", "groups") or ())
    return {
        "score_panels": panels,
        "score_groups": groups,
        "says": _SCORES_OF_TWO if names <= {"positives", "negatives"} else _SCORES_BY_LABEL,
        "of": _of(record),
    }


_SCORES_OF_TWO = (
    "How similar the model finds texts that belong together and texts that do not. The less the "
    "two overlap, the better they are told apart."
)
_SCORES_BY_LABEL = (
    "How similar the model finds the two texts of a pair, for each label. The less the groups "
    "overlap, the better they are told apart."
)


def _of(record: Record) -> str:
    """Of which of several datasets the texts are that are shown."""
    forms = [str(one.get("form")) for one in tables.dicts(tables.part(record, "data", "datasets"))]
    shown = tables.part(record, "shown", "form") or next(iter(forms), "")
    return f"the form {shown} only" if len(forms) > 1 else ""


def _queries(record: Record, plots: Charts) -> Section | None:
    lists: list[dict[str, Any]] = [
        {"kind": kind, "queries": found}
        for kind in ("improved", "worse")
        if (found := tables.queries(record, kind))
    ]
    if not lists or tables.is_start_kept(record):
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
        "of": _of(record),
        "counts": queries.get("counts") if isinstance(queries.get("counts"), dict) else {},
    }


def _neighbours(record: Record, plots: Charts) -> Section | None:
    found = tables.neighbours(record)
    return {"neighbours": found, "of": _of(record)} if found else None


def _map(record: Record, plots: Charts) -> Section | None:
    found = pictures.planes(record)
    if not found:
        return None
    specs = found.pop("specs")
    plots |= specs
    plots["map-texts"] = found.pop("hover")
    return {**found, "of": _of(record)}


def _data(record: Record, plots: Charts) -> Section | None:
    lengths = pictures.lengths(record)
    for plot in lengths:
        plots[plot["id"]] = plot.pop("spec")
    found = {
        "data": division.data(record),
        "columns": tables.columns(record),
        "labels": tables.labels(record),
        "lengths_of": _lengths_of(record),
        "notes": tables.texts(tables.part(record, "data", "notes")),
        "lengths": lengths,
        "losses": tables.rows_of(
            tables.part(record, "data", "inspection", "losses"), "name", "why"
        ),
    }
    return found if any(found.values()) else None


def _lengths_of(record: Record) -> str:
    """Which texts the histograms count: all, or the held-out ones."""
    if not record.get("lengths"):
        return ""
    of = _of(record)
    return f"Of held-out rows with {of}." if of else "Of held-out rows."


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
        "log": [named(line) for line in tables.texts(record.get("log"))],
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
