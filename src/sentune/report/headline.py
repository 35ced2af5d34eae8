"""What got better, by how much and how sure that is; or that the start was kept, and why."""

from __future__ import annotations

from typing import Any

from sentune.report.tables import dicts, differences, interval_place, models, part
from sentune.report.words import (
    change,
    count,
    figure,
    interval,
    is_number,
    named,
    plural,
    seconds,
    sentence,
)

Record = dict[str, Any]


def title(record: Record) -> str:
    """Of the window."""
    return f"{headline(record)['line']} · sentune"


def headline(record: Record) -> dict[str, Any]:
    """The line, the sentences below it, and the figures before and after with their interval."""
    if record.get("kind") == "evaluate":
        return _of_evaluation(record)
    metric = str(part(record, "task", "metric") or "figure")
    name, result = _result(record)
    is_start = part(record, "decision", "kept") == "start"
    reason = part(record, "decision", "reason")
    reason = f"Why it was kept: {sentence(reason)}" if reason else ""
    if is_start:
        line = "Nothing better was found, so the start was kept"
        before = result.get("before")
        more = (
            f"On {_where(name, result)} the {metric} is {figure(before)}."
            if is_number(before)
            else ""
        )
        return {"line": line, "says": [text for text in (reason, more) if text], "kept": "start"}
    before, after, gain = (result.get(key) for key in ("before", "after", "gain"))
    if not is_number(before) or not is_number(after):
        return {
            "line": "A model was trained",
            "says": [reason] if reason else [],
            "kept": "trained",
        }
    gain = gain if is_number(gain) else after - before
    low, high = result.get("low"), result.get("high")
    is_sure = is_number(low) and is_number(high) and (low > 0 or high < 0)
    return {
        "line": _line(metric, before, after, gain, is_sure),
        "says": [
            text
            for text in (_gain_words(name, result, gain, is_sure), *_of_each(result), reason)
            if text
        ],
        "kept": "trained",
        "metric": metric,
        "before": before,
        "after": after,
        "gain": gain,
        "low": low,
        "high": high,
        "where": _where(name, result),
        "strip": interval_place(gain, low, high),
    }


def _result(record: Record) -> tuple[str, Record]:
    """The part that the headline is about: the test part, or dev where there is none."""
    for name in ("test", "dev"):
        found = part(record, "result", name)
        if isinstance(found, dict) and is_number(found.get("before")):
            return name, found
    return "test", {}


def _line(metric: str, before: float, after: float, gain: float, is_sure: bool) -> str:
    upper = metric[:1].upper() + metric[1:]
    if gain == 0 or figure(before) == figure(after):
        return f"{upper} stays at {figure(after)}"
    verb = "rose" if gain > 0 else "fell"
    line = f"{upper} {verb} from {figure(before)} to {figure(after)}"
    return line if is_sure else f"{line}, which may be chance"


def _where(name: str, result: Record) -> str:
    rows = result.get("rows")
    held = "held-out rows" if name == "test" else "rows of the dev part"
    return f"{count(rows)} {held}" if is_number(rows) else f"the {held}"


def _gain_words(name: str, result: Record, gain: float, is_sure: bool) -> str:
    low, high = result.get("low"), result.get("high")
    words = f"On {_where(name, result)} "
    seen = "that no training and no choice has seen" if name == "test" else "which chose the model"
    words += f"{seen}, "
    words += f"the model {'gains' if gain >= 0 else 'loses'} {figure(abs(gain))}"
    if not is_number(low) or not is_number(high):
        return words + "."
    words += f" (95% interval {interval(low, high)})."
    if not is_sure:
        words += " The interval holds 0: on other rows it could have been the other way round."
    return words


def _of_each(result: Record) -> list[str]:
    """A sentence about each of several datasets."""
    said = []
    for one in dicts(result.get("each")):
        before, after, low, high = (one.get(key) for key in ("before", "after", "low", "high"))
        if is_number(before) and is_number(after):
            sure = f" (95% interval {interval(low, high)})" if is_number(low) else ""
            metric, rows = sentence(one.get("metric")).rstrip("."), plural(one.get("rows"), "row")
            said.append(f"{metric}: from {figure(before)} to {figure(after)}{sure}, on {rows}.")
    return said


def _of_evaluation(record: Record) -> dict[str, Any]:
    metric = str(part(record, "task", "metric") or "figure")
    found = models(record)
    if not found:
        return {"line": "An evaluation", "says": [], "kept": None}
    best = found[0]
    rows = next((one.get("rows") for one in dicts(record.get("models"))), None)
    rows = rows if is_number(rows) else part(record, "data", "rows", "test")
    where = f"On {plural(rows, 'row')} the" if is_number(rows) else "The"
    says = [f"{where} {metric} of {best['name']} is {figure(best['figure'])}."]
    if len(found) == 1:
        return {"line": f"{best['name']}: {figure(best['figure'])}", "says": says, "kept": None}
    second = found[1]
    line = f"{best['name']} is ahead of {second['name']}"
    for one in differences(record):
        if {one["first"], one["second"]} == {best["name"], second["name"]}:
            sign = 1 if one["second"] == best["name"] else -1
            words = "is more than chance" if one["is_real"] else "may be chance"
            says.append(
                f"The next, {second['name']}, has {figure(second['figure'])}: a difference of "
                f"{change(sign * one['gain'])}, which {words}."
            )
            line = line if one["is_real"] else f"{best['name']} and {second['name']} lead"
    return {"line": line, "says": says, "kept": None, "metric": metric}


def explanation(record: Record) -> str:
    """What the figure means."""
    found, metric = part(record, "task", "explanation"), part(record, "task", "metric")
    return sentence(f"{metric}: {found}") if found and metric else ""


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
    least = f"at least {figure(threshold)} was asked for" if is_number(threshold) else ""
    return {
        "label": "Knowledge kept",
        "value": figure(general["agreement"]),
        "note": least or "agreement with the start on general texts",
    }


def _rows(record: Record) -> dict[str, str] | None:
    rows = part(record, "data", "rows")
    rows = rows if isinstance(rows, dict) else {}
    counts = [(name, rows[name]) for name in ("train", "dev", "test") if _is_some(rows.get(name))]
    if not counts:
        return None
    (name, first), *rest = counts
    note = " · ".join(f"{count(number)} {name}" for name, number in rest)
    return {"label": f"Rows to {_USES[name]}", "value": count(first), "note": note}


_USES = {"train": "train on", "dev": "choose by", "test": "measure on"}


def _is_some(number: Any) -> bool:
    return is_number(number) and number > 0


def _time(record: Record) -> dict[str, str] | None:
    if not is_number(record.get("seconds")):
        return None
    cores = part(record, "environment", "cores")
    note = f"on {plural(cores, 'core')}" if is_number(cores) else ""
    return {"label": "Time", "value": seconds(record["seconds"]), "note": note}
