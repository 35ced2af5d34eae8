"""The record of a run, as plain values for run.json and the report; and its summary in words."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from sentune.machine.screen import table
from sentune.workbench.inspect import inspect
from sentune.workbench.measuring.before_after import compared
from sentune.workbench.racing.candidates import without_empty
from sentune.workbench.racing.course import Course
from sentune.workbench.racing.race import Entry, as_dict
from sentune.workbench.records import run_file
from sentune.workbench.records.optional import optional
from sentune.workbench.rows.prepared import Parts
from sentune.workbench.rows.several import words_of

_VERSION = 1
_OF_A_GAIN = ("gain", "low", "high")
# What is found of each of several datasets, and the words of it that say of which.
_MARKED = {"columns": "", "findings": "kind", "problems": "text", "losses": "why"}
_STOPPED = "the run was stopped before this was measured"
_INSPECTED = 50_000  # rows, in half a minute; `sentune inspect` looks at all


def record(
    course: Course, sources: list[dict[str, Any]], command: str, seconds: float
) -> dict[str, Any]:
    """Everything that is known of a run.

    Args:
        course: After it has gone.
        sources: Name, hash and rows of each file.
        command: That would do the same.
        seconds: How long it took.
    """
    race, say = course.race, course.teller.say
    found = optional(lambda: pictures(course), "the pictures of the report", say)
    inspected = optional(lambda: _inspected(course, sources), "the inspection of the data", say)
    return finite(
        {
            **found,
            "version": _VERSION,
            "kind": "train",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": command,
            "seconds": round(seconds, 1),
            "seed": course.settings.seed,
            "environment": _environment(course),
            "data": {**_data(course, sources), "inspection": inspected},
            "task": {
                "metric": course.measure.metric,
                "explanation": course.measure.explanation,
                "part": course.part,
            },
            "decision": _decision(course),
            "resume": _resume(course),
            "result": {**course.result, "general": _general(course)},
            "leaderboard": [_start_row(course), *_leaderboard(course)],
            "mixes": [_mix(course, mix) for mix in course.mixes],
            "curves": {} if race is None else {one.name: one.curves for one in race.entries},
            "passes": 0 if race is None else round(sum(race.passes.values())),
            "spent": {} if race is None else {**race.passes, "allowed": race.allowed},
            "settings": options_of(course),
            "log": list(course.teller.lines),
        }
    )


def pictures(course: Course) -> dict[str, Any]:
    """What the start and the kept model make of held-out texts of the first dataset, to show."""
    if course.is_stopped:
        return {}
    first = next(one for one in course.datasets if course.part in one.rows)
    rows, form = first.rows[course.part], first.form
    found = compared(course.start, course.after, rows, form, seed=course.settings.seed)
    return {**found, "shown": {"form": form.name, "part": course.part}}


def _inspected(course: Course, sources: list[dict[str, Any]]) -> dict[str, Any]:
    """What there is to say of the rows; of further datasets what is not of one form alone."""
    names = [one["name"] for one in sources]
    first, *others = [_inspected_rows(one, names, course.settings.seed) for one in course.datasets]
    if not others:
        return first
    every: dict[str, list[Any]] = {name: [] for name in _MARKED}
    for found in (first, *others):
        form = found["form"]
        every["columns"] += [{"data": form, **one} for one in found["columns"]]
        for name, said in _MARKED.items():
            every[name] += [{**one, said: f"{form}: {one[said]}"} for one in found[name] if said]
    return {**first, **every, "datasets": [first, *others]}


def _inspected_rows(parts: Parts, names: list[str], seed: int) -> dict[str, Any]:
    rows, total = parts.whole, len(parts.whole)
    if total > _INSPECTED:
        chosen = np.random.default_rng(seed).permutation(total)[:_INSPECTED]
        rows = rows.select(np.sort(chosen))
    found = inspect(rows, source=names).to_dict()
    if total > _INSPECTED:
        note = f"{_INSPECTED:,} of {total:,} rows are looked at, drawn at random"
        found["notes"] = [note, *found["notes"]]
    return found


def options_of(course: Course) -> dict[str, Any]:
    """The options that give the same model without a race."""
    found = {n: value for n, value in course.settings.given.items() if not n.startswith("push")}
    winner = course.winner
    if winner is None or course.choice.mix is None:
        return {**found, "alpha": 0.0}
    for name in ("epochs", "negatives", "budget"):
        found.pop(name, None)
    anchors = winner.race.anchors
    decided = {
        "folds": len(course.held_out.folds),
        "anchors": 0 if anchors is None else anchors.in_a_batch,
        "alpha": course.choice.mix.alpha,
    }
    last = winner.entries[0].rounds[-1]
    stop = {} if last["steps"] == last["of_steps"] else {"stop_step": last["steps"]}
    if len(winner.entries) > 1 or len(course.datasets) > 1:
        for name in course.settings.fixed:
            found.pop(name)
        return {**found, "runs": [_as_run(one) for one in winner.entries], **stop, **decided}
    return {**found, **_as_run(winner.entries[0]), **stop, **decided}


def _as_run(entry: Entry) -> dict[str, Any]:
    """The settings of a training and its steps."""
    settings = without_empty(entry.candidate.settings)
    return {**settings, "steps": entry.rounds[-1]["of_steps"]}


def summary(found: dict[str, Any], folder: Path) -> str:
    """What came out of a run, for a terminal."""
    rows = [
        [
            row["name"],
            _number(row["figure"]),
            _number(row.get("gain"), "+"),
            _span(row),
            row["state"],
        ]
        for row in found["leaderboard"]
    ]
    lines = [
        table(("tried", found["task"]["metric"], "gain", "95% interval", ""), rows),
        "",
        f"Kept: {_kept(found)}.",
        f"Why: {found['decision']['reason']}.",
    ]
    test = found["result"].get("test")
    if test:
        gain, low, high = (_number(test[name], "+") or "unknown" for name in _OF_A_GAIN)
        before, after = (_number(test[name]) or "not finite" for name in ("before", "after"))
        change = f"{before} before, {after} after ({gain}, between {low} and {high})"
        is_start = found["decision"]["kept"] == "start"
        lines.append(f"Test: {before if is_start else change} on {test['rows']:,} rows.")
        lines += [_of_a_dataset(one) for one in test.get("each", ())]
    lines.append(f"Model, report.html, run.yaml and run.json are in {folder}")
    return "\n".join(lines)


def _of_a_dataset(one: dict[str, Any]) -> str:
    before, after = (_number(one[name]) or "not finite" for name in ("before", "after"))
    gain = _number(one["gain"], "+") or "unknown"
    return f"  {one['metric']}: {before} before, {after} after ({gain}) on {one['rows']:,} rows"


def as_words(name: str, value: Any) -> list[str]:
    """An option as a command line has it."""
    option = "--format" if name == "data_format" else f"--{name.replace('_', '-')}"
    if value is True:
        return [option]
    if name == "columns":
        value = ",".join(f"{new}={old}" for new, old in value.items())
    elif isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict)):
        value = json.dumps(value)
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    return [option, str(value)]


def finite(value: Any) -> Any:
    """Plain values in which numbers that are not finite are None, so that JSON can hold them."""
    if isinstance(value, dict):
        return {str(name): finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _kept(found: dict[str, Any]) -> str:
    decided = found["decision"]
    if decided["kept"] == "start":
        return "the start, as it was"
    share = f", {decided['alpha']:g} of its weights and the rest of the start's"
    return f"{decided['candidate']}{share if decided['alpha'] < 1 else ''}"


def _environment(course: Course) -> dict[str, Any]:
    model = course.start.model
    return {
        **run_file.versions(),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "device": str(model.device),
        "precision": course.settings.dtype,
    }


def _data(course: Course, sources: list[dict[str, Any]]) -> dict[str, Any]:
    each = [_rows_of(one) for one in course.datasets]
    found = {
        "source": sources,
        "form": words_of(course.datasets),
        "rows": {name: sum(one[name] for one in each) for name in each[0]},
        "folds": len(course.held_out.folds),
        "notes": list(course.notes),
    }
    if len(each) == 1:
        return found
    pairs = zip(course.datasets, each, strict=True)
    return {**found, "datasets": [{"form": one.form.name, "rows": rows} for one, rows in pairs]}


def _rows_of(parts: Parts) -> dict[str, int]:
    counts = {name: len(rows) for name, rows in parts.rows.items()}
    return {"train": 0, "dev": 0, "test": 0, **counts, "dropped": parts.dropped}


def _decision(course: Course) -> dict[str, Any]:
    winner, mix = course.winner, course.choice.mix
    return {
        "kept": "start" if winner is None else "trained",
        "cause": course.choice.cause,
        "reason": course.choice.reason,
        "candidate": None if winner is None else winner.name,
        "alpha": None if mix is None else mix.alpha,
        "is_stopped": course.is_stopped,
    }


def _resume(course: Course) -> str | None:
    """The command that goes on with a run that was stopped."""
    words = ["sentune", "train", "--output", course.settings.output, "--resume"]
    return shlex.join(words) if course.is_stopped else None


def _general(course: Course) -> dict[str, Any]:
    mix = course.choice.mix
    return {
        "agreement": 1.0 if mix is None else mix.agreement,
        "threshold": course.threshold,
        "before": 1.0,
        "after": 1.0 if mix is None else mix.agreement,
    }


def _start_row(course: Course) -> dict[str, Any]:
    return {
        "name": "start",
        "loss": None,
        "settings": {},
        "rounds": [],
        "figure": course.before.figure,
        "gain": 0.0,
        "low": 0.0,
        "high": 0.0,
        "agreement": 1.0,
        "state": "won" if course.winner is None else "finished",
        "reason": course.choice.reason if course.winner is None else "",
    }


def _leaderboard(course: Course) -> list[dict[str, Any]]:
    entries = [] if course.race is None else course.race.entries
    ranked = sorted(entries, key=lambda one: (one.state != "won", not one.is_full, -_figure(one)))
    averages = [
        _row_of_average(course, place)
        for place, line in enumerate(course.lines)
        if len(line.entries) > 1 and any(mix.place == place for mix in course.mixes)
    ]
    return [*averages, *(_row(course, one) for one in ranked)]


def _row_of_average(course: Course, place: int) -> dict[str, Any]:
    """The largest share of an average that was measured."""
    line = course.lines[place]
    largest = max((mix for mix in course.mixes if mix.place == place), key=lambda mix: mix.alpha)
    return {
        "name": line.name,
        "is_average": True,
        "of": [one.name for one in line.entries],
        "loss": None,
        "settings": {},
        "rounds": [],
        "figure": largest.values.figure,
        **{name: as_dict(largest.gain)[name] for name in ("gain", "low", "high")},
        "agreement": largest.agreement,
        "state": "won" if course.winner is line else "finished",
        "reason": "" if largest.alpha == 1 else f"{largest.alpha:g} of its weights",
    }


def _row(course: Course, entry: Entry) -> dict[str, Any]:
    last = entry.rounds[-1] if entry.rounds else {}
    lines = [place for place, line in enumerate(course.lines) if line.entries == [entry]]
    own = [mix for mix in course.mixes if mix.place in lines]
    whole = next((mix for mix in own if mix.alpha == 1), None)
    return {
        "name": entry.name,
        "loss": entry.candidate.loss,
        "settings": entry.candidate.settings,
        "rounds": entry.rounds,
        **{name: last.get(name) for name in ("figure", "gain", "low", "high")},
        "agreement": None if whole is None else whole.agreement,
        "state": _state(entry),
        "reason": entry.reason or (_STOPPED if entry.state == "waiting" else ""),
    }


def _state(entry: Entry) -> str:
    """How it ended; what was dropped before its first round was not tried."""
    if entry.state == "waiting":
        return "stopped"
    return "not tried" if entry.state == "dropped" and not entry.rounds else entry.state


def _mix(course: Course, mix: Any) -> dict[str, Any]:
    return {
        "name": course.lines[mix.place].name,
        "alpha": mix.alpha,
        "figure": mix.values.figure,
        "gain": mix.gain.value,
        "low": mix.gain.low,
        "high": mix.gain.high,
        "agreement": mix.agreement,
        "passes": mix.passes,
    }


def _figure(entry: Entry) -> float:
    return entry.values.figure if entry.values is not None else -math.inf


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"


def _span(row: dict[str, Any]) -> str:
    if row.get("low") is None or row["name"] == "start":
        return ""
    return f"{row['low']:+.4f} to {row['high']:+.4f}"
