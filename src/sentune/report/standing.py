"""Which of several models is ahead of which, and by how much."""

from __future__ import annotations

from typing import Any

from sentune.report.tables import dicts, differences, interval_place, models, part
from sentune.report.words import change, figure, interval, is_number, listed, plural, sentence

Record = dict[str, Any]

_MOST_NAMED = 4  # models in the line


def headline(record: Record) -> dict[str, Any]:
    """The line about the best model, the sentences below it, and the figures of two models."""
    metric = str(part(record, "task", "metric") or "figure")
    found = models(record)
    if not found:
        return {"line": "An evaluation", "says": [], "kept": None}
    best, *others = found
    if not others:
        low, high = best["low"], best["high"]
        sure = f" (95% interval {figure(low)} to {figure(high)})" if is_number(low) else ""
        says = [f"The {metric} on {_rows(record)} is {figure(best['figure'])}{sure}."]
        return {"line": f"{best['name']}: {figure(best['figure'])}", "says": says, "kept": None}
    against = {one["name"]: _against(record, best, one) for one in others}
    tied = [name for name, one in against.items() if one["is_real"] is False]
    behind = [name for name, one in against.items() if one["is_real"]]
    shown, *rest = others
    first = against[shown["name"]]
    return {
        "line": _line(best["name"], tied, behind, len(others)),
        "says": [
            f"{_figures(metric, best, shown, first)} on {_rows(record)}, {_verdict(first)}.",
            *(_rest_words(best, one, against[one["name"]]) for one in rest),
        ],
        "kept": None,
        "metric": metric,
        "names": (shown["name"], best["name"]),
        "before": shown["figure"],
        "after": best["figure"],
        **{key: first[key] for key in ("gain", "low", "high", "strip")},
    }


def is_alone(record: Record) -> bool:
    """Whether one model is ahead of all others by more than chance."""
    best, *others = models(record)
    return bool(others) and all(_against(record, best, one)["is_real"] for one in others)


def _line(best: str, tied: list[str], behind: list[str], others: int) -> str:
    if tied:
        names = [best, *tied]
        if len(names) > _MOST_NAMED:
            return f"No real difference between {best} and {len(tied)} others"
        return f"No real difference between {listed(names)}"
    if _MOST_NAMED <= len(behind) == others:
        return f"{best} is ahead of all {others} others"
    return f"{best} is ahead of {listed(behind)}" if behind else f"{best} has the highest figure"


def _against(record: Record, best: Record, other: Record) -> Record:
    """By how much the best is ahead of another; "is_real" is None of two not compared."""
    for one in differences(record):
        if {one["first"], one["second"]} != {best["name"], other["name"]}:
            continue
        low, high, gain = one["low"], one["high"], one["gain"]
        if one["second"] != best["name"]:
            low, high = (-end if is_number(end) else None for end in (high, low))
            gain = -gain
        return {
            **{"gain": gain, "low": low, "high": high, "is_real": one["is_real"]},
            "strip": interval_place(gain, low, high),
        }
    gain = best["figure"] - other["figure"]
    return {"gain": gain, "low": None, "high": None, "is_real": None, "strip": None}


def _figures(metric: str, best: Record, other: Record, found: Record) -> str:
    name = sentence(metric).rstrip(".")
    return f"{name} {figure(best['figure'])} against {figure(other['figure'])}, {_gain(found)}"


def _rest_words(best: Record, other: Record, found: Record) -> str:
    ahead = f"{best['name']} is ahead by {_gain(found)}, {_verdict(found)}"
    return f"{other['name']}: {figure(other['figure'])}; {ahead}."


def _gain(found: Record) -> str:
    sure = f" ({interval(found['low'], found['high'])})" if is_number(found["low"]) else ""
    return change(found["gain"]) + sure


def _verdict(found: Record) -> str:
    if not found["gain"]:
        return "no difference"
    if found["is_real"] is None:
        return "not compared row by row"
    return "which is more than chance" if found["is_real"] else "which may be chance"


def _rows(record: Record) -> str:
    rows = next((one.get("rows") for one in dicts(record.get("models"))), None)
    rows = rows if is_number(rows) else part(record, "data", "rows", "test")
    return plural(rows, "row") if is_number(rows) else "the rows"
