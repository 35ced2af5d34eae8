"""What got better, by how much and how sure that is; or that the start was kept, and why."""

from __future__ import annotations

from typing import Any

from sentune.report import standing
from sentune.report.tables import dicts, interval_place, part
from sentune.report.words import count, figure, interval, is_number, named, plural, sentence

Record = dict[str, Any]

# By the cause of the decision in the record; where there is none, nothing is said of it.
_START_KEPT = {
    "asked": "The start was kept, as asked for",
    "stopped": "Stopped before a model was trained, so the start was kept",
    "failed": "No training succeeded, so the start was kept",
    "few_rows": "Too few held-out rows to show a gain, so the start was kept",
    "no_gain": "Nothing better was found, so the start was kept",
    "chance": "No gain beyond chance was found, so the start was kept",
    "forgot": "What was trained forgot too much, so the start was kept",
    "better_but_forgot": "A better model was found, but it forgot too much",
}


def title(record: Record) -> str:
    """Of the window."""
    return f"{headline(record)['line']} · sentune"


def headline(record: Record) -> dict[str, Any]:
    """The line, the sentences below it, and the figures before and after with their interval."""
    if record.get("kind") == "evaluate":
        return standing.headline(record)
    name, result = _result(record)
    reason = part(record, "decision", "reason")
    reason = f"Why it was kept: {sentence(named(reason))}" if reason else ""
    if part(record, "decision", "kept") == "start":
        return _of_the_start(record, name, result, reason)
    before, after, gain = (result.get(key) for key in ("before", "after", "gain"))
    if not is_number(before) or not is_number(after):
        says = [reason] if reason else []
        return {"line": "A model was trained", "says": says, "kept": "trained"}
    metric = _metric(record)
    gain = gain if is_number(gain) else after - before
    low, high = result.get("low"), result.get("high")
    is_sure = is_number(low) and is_number(high) and (low > 0 or high < 0)
    gains = _gain_words(_where(record, name, result), name, result, gain, is_sure)
    return {
        "line": _line(metric, before, after, gain, is_sure),
        "says": [text for text in (gains, *_of_each(result), reason) if text],
        "kept": "trained",
        "metric": metric,
        "names": ("Before", "After"),
        "before": before,
        "after": after,
        "gain": gain,
        "low": low,
        "high": high,
        "strip": interval_place(gain, low, high),
    }


def _of_the_start(record: Record, name: str, result: Record, reason: str) -> dict[str, Any]:
    before = result.get("before")
    where = f"On {_where(record, name, result)} the {_metric(record)} is {figure(before)}."
    says = [reason, where if is_number(before) else "", *_of_each(result)]
    line = _START_KEPT.get(str(part(record, "decision", "cause")), "The start was kept")
    return {"line": line, "says": [text for text in says if text], "kept": "start"}


def _metric(record: Record) -> str:
    return str(part(record, "task", "metric") or "figure")


def _result(record: Record) -> tuple[str, Record]:
    """The part that the headline is about: the test part, or dev where there is none."""
    for name in ("test", "dev"):
        found = part(record, "result", name)
        if isinstance(found, dict) and is_number(found.get("before")):
            return name, found
    return "test", {}


def _line(metric: str, before: float, after: float, gain: float, is_sure: bool) -> str:
    upper = sentence(metric).rstrip(".")
    if gain == 0 or figure(before) == figure(after):
        return f"{upper} stays at {figure(after)}"
    verb = "rose" if gain > 0 else "fell"
    line = f"{upper} {verb} from {figure(before)} to {figure(after)}"
    return line if is_sure else f"{line}, which may be chance"


def _where(record: Record, name: str, result: Record) -> str:
    rows, folds = result.get("rows"), part(record, "data", "folds")
    held = "held-out rows" if name == "test" else "rows of the dev part"
    if name == "dev" and is_number(folds) and folds > 1:
        held = "rows that were held out in turn"
    return f"{count(rows)} {held}" if is_number(rows) else f"the {held}"


def _gain_words(where: str, name: str, result: Record, gain: float, is_sure: bool) -> str:
    low, high = result.get("low"), result.get("high")
    seen = "that no training and no choice has seen" if name == "test" else "which chose the model"
    words = f"On {where} {seen}, the model {'gains' if gain >= 0 else 'loses'} {figure(abs(gain))}"
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
        if not is_number(before) or not is_number(after):
            continue
        metric, rows = sentence(one.get("metric")).rstrip("."), plural(one.get("rows"), "row")
        if before == after:
            said.append(f"{metric}: {figure(before)} on {rows}.")
            continue
        sure = f" (95% interval {interval(low, high)})" if is_number(low) else ""
        said.append(f"{metric}: from {figure(before)} to {figure(after)}{sure}, on {rows}.")
    return said


def explanation(record: Record) -> str:
    """What the figure means."""
    found, metric = part(record, "task", "explanation"), part(record, "task", "metric")
    return sentence(f"{metric}: {found}") if found and metric else ""
