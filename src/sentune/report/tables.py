"""The parts of a record that are shown as tables and lists; what is not there is empty."""

from __future__ import annotations

from typing import Any

from sentune.report.plain import shortened
from sentune.report.words import (
    STATES,
    apart,
    beside,
    count,
    is_number,
    named,
    nearby,
    share,
    title,
    value,
)

Record = dict[str, Any]

_MOST_EXAMPLES = 5
_LONGEST_CELL = 400  # characters of a text in an example


def part(record: Any, *names: str) -> Any:
    """What is below these names; None where one of them is not there."""
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def dicts(found: Any) -> list[Record]:
    """The dicts of a list; none of anything else."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def rows_of(found: Any, *names: str) -> list[Record]:
    """The dicts of a list with these names, None where one is not there."""
    return [{name: one.get(name) for name in names} for one in dicts(found)]


def numbers(found: Any) -> list[float]:
    """What a list holds, if all of it is numbers."""
    is_all = isinstance(found, list) and all(map(is_number, found))
    return found if is_all else []


def texts(found: Any) -> list[str]:
    """What a list holds, in words."""
    return [value(one) for one in found] if isinstance(found, list) else []


def pairs(found: Any) -> list[tuple[str, str]]:
    """Names and values in words."""
    if not isinstance(found, dict):
        return []
    return [(title(name), value(one)) for name, one in found.items() if one not in (None, "", {})]


def interval_place(
    middle: Any, low: Any, high: Any, span: tuple[float, float] | None = None
) -> Any:
    """Places in percent of an interval, its middle and zero on a line; None without numbers."""
    if not is_number(middle) or not is_number(low) or not is_number(high):
        return None
    start, end = span or _span([low, high, middle])

    def place(number: float) -> float:
        return round(min(100.0, max(0.0, 100 * (number - start) / (end - start))), 2)

    return {
        "low": place(low),
        "width": round(place(high) - place(low), 2),
        "middle": place(middle),
        "zero": place(0.0) if start <= 0 <= end else None,
        "tone": "good" if low > 0 else "bad" if high < 0 else "open",
    }


def _span(numbers: list[float], with_zero: bool = True) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.06 or 0.01
    return low - room, high + room


def leaderboard(record: Record) -> list[Record]:
    """What was tried, best first, with the start among it."""
    rows = dicts(record.get("leaderboard"))
    ends = [row.get(key) for row in rows for key in ("low", "high", "gain")]
    span = _span([end for end in ends if is_number(end)] or [0.0])
    own = [row for row in rows if row.get("name") != "start" and not row.get("is_average")]
    telling = _telling([row.get("settings") for row in own])
    kept_start = is_start_kept(record)
    threshold = part(record, "result", "general", "threshold")
    found = []
    for row in rows:
        is_start = row.get("name") == "start"
        state = "start" if is_start else str(row.get("state") or "")
        settings: Any = row.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        loss = str(row.get("loss") or "")
        found.append(
            {
                "name": row.get("name") or "",
                "loss": "" if loss and str(row.get("name")).startswith(loss) else loss,
                "settings": pairs({name: settings[name] for name in settings if name in telling}),
                "rounds": [one for one in dicts(row.get("rounds")) if is_number(one.get("steps"))],
                "figure": row.get("figure"),
                "gain": None if is_start else row.get("gain"),
                "low": row.get("low"),
                "high": row.get("high"),
                "agreement": beside(row.get("agreement"), threshold),
                "state": state,
                "state_words": "Kept" if is_start and kept_start else STATES.get(state, state),
                "reason": "" if is_start else named(row.get("reason") or ""),  # the headline has it
                "is_start": is_start,
                "is_average": bool(row.get("is_average")),
                "is_kept": state == "won" or (is_start and kept_start),
                "strip": None
                if is_start
                else interval_place(row.get("gain"), row.get("low"), row.get("high"), span),
            }
        )
    return sorted(found, key=lambda row: -row["figure"] if is_number(row["figure"]) else 1e9)


def is_start_kept(record: Record) -> bool:
    """Whether what is kept is the start, so that there is nothing to compare it with."""
    return bool(part(record, "decision", "kept") == "start")


def _telling(settings: list[Any]) -> set[str]:
    """Names of the settings that are not the same for all candidates."""
    known = [one for one in settings if isinstance(one, dict)]
    names = {name for one in known for name in one} - {"loss"}
    return {name for name in names if len({str(one.get(name)) for one in known}) > 1}


def models(record: Record) -> list[Record]:
    """The models of an evaluation, best first."""
    rows = [row for row in dicts(record.get("models")) if is_number(row.get("figure"))]
    ends = [row.get(key) for row in rows for key in ("low", "high", "figure")]
    span = _span([end for end in ends if is_number(end)] or [0.0], with_zero=False)
    shown = shown_names(record)
    found = [
        {
            "name": shown.get(str(row.get("name") or ""), ""),
            "path": nearby(str(row.get("path") or "")),
            "figure": row["figure"],
            "low": row.get("low"),
            "high": row.get("high"),
            "strip": interval_place(row["figure"], row.get("low"), row.get("high"), span),
        }
        for row in rows
    ]
    return sorted(found, key=lambda row: -row["figure"])


def differences(record: Record) -> list[Record]:
    """Pairs of models with the difference of their figures."""
    rows = [row for row in dicts(record.get("differences")) if is_number(row.get("gain"))]
    ends = [row.get(key) for row in rows for key in ("low", "high", "gain")]
    span = _span([end for end in ends if is_number(end)] or [0.0])
    shown = shown_names(record)
    return [
        {
            "first": shown.get(str(row.get("first") or ""), ""),
            "second": shown.get(str(row.get("second") or ""), ""),
            "gain": row["gain"],
            "low": row.get("low"),
            "high": row.get("high"),
            "is_real": bool(row.get("is_real")),
            "strip": interval_place(row["gain"], row.get("low"), row.get("high"), span),
        }
        for row in rows
    ]


def side_names(record: Record) -> dict[str, str]:
    """What the sides are called: before and after a training, or by the names of two models.

    Where the start was kept there is one side only.
    """
    if is_start_kept(record):
        return {"before": "the start"}
    names = [part(record, "sides", side) for side in ("before", "after")]
    if not all(isinstance(name, str) and name for name in names):
        return {"before": "before", "after": "after"}
    shown = shown_names(record)
    return {"before": f"with {shown[names[0]]}", "after": f"with {shown[names[1]]}"}


def shown_names(record: Record) -> dict[str, str]:
    """What the models are called, each in another way."""
    names = [str(row.get("name") or "") for row in dicts(record.get("models"))]
    for row in dicts(record.get("differences")):
        names += [str(row.get(key) or "") for key in ("first", "second")]
    names += [str(part(record, "sides", side) or "") for side in ("before", "after")]
    return apart(list(dict.fromkeys(names)))


def queries(record: Record, kind: str) -> list[Record]:
    """Queries with what was found first on each side: those that "improved", or got "worse"."""
    return [
        {
            "query": str(one.get("query") or ""),
            "expected": str(one.get("expected") or ""),
            "rank_before": one.get("rank_before"),
            "rank_after": one.get("rank_after"),
            "sides": _sides(record, one),
        }
        for one in dicts(part(record, "queries", kind))
    ]


def neighbours(record: Record) -> list[Record]:
    """Texts with their nearest before and after; those that only one model finds are marked."""
    found = []
    for one in dicts(record.get("neighbours")):
        sides = _sides(record, one)
        texts = [{result["text"] for result in side["results"]} for side in sides]
        for side, others in zip(sides, reversed(texts), strict=True):
            for result in side["results"]:
                result["is_new"] = result["text"] not in others
        found.append({"text": str(one.get("text") or ""), "sides": sides})
    return found


def _sides(record: Record, one: Record) -> list[Record]:
    return [
        {
            "name": name,
            "results": [
                {
                    "text": str(result.get("text") or ""),
                    "score": result.get("score"),
                    "label": str(result.get("label") or ""),
                    "is_right": bool(result.get("is_right")),
                    "is_new": False,
                }
                for result in dicts(one.get(name))
            ],
        }
        for name in side_names(record)
    ]


def columns(record: Record) -> Record | None:
    """What is known of each column, as a table with the names that any of them has."""
    rows = dicts(part(record, "data", "inspection", "columns"))
    heads = list(dict.fromkeys(name for row in rows for name in row))
    if not heads:
        return None
    return {
        "heads": [
            {"text": title(name), "is_number": all(is_number(row.get(name)) for row in rows)}
            for name in heads
        ],
        "rows": [[_cell(row.get(name)) for name in heads] for row in rows],
    }


def _cell(one: Any) -> Record:
    if isinstance(one, dict) and one and all(map(_is_share, one.values())):
        return {"text": ", ".join(f"{name} {share(n)}" for name, n in one.items()), "is_number": 0}
    is_whole = is_number(one) and float(one).is_integer()
    return {"text": count(one) if is_whole else value(one), "is_number": is_number(one)}


def _is_share(one: Any) -> bool:
    return is_number(one) and 0 <= one <= 1


def labels(record: Record) -> list[Record]:
    """How often each label is there and what else is known of them, for each dataset with labels.

    Of several datasets each has its form as its name.
    """
    inspection = part(record, "data", "inspection")
    several = dicts(part(inspection, "datasets"))
    named = [(str(one.get("form") or ""), one) for one in several] or [("", inspection)]
    found = [(name, part(one, "labels")) for name, one in named]
    return [
        {"dataset": name, **_labels(own)} for name, own in found if isinstance(own, dict) and own
    ]


def _labels(found: Record) -> Record:
    counts = [*_counts(found, "most"), *_counts(found, "fewest")]
    edges, sizes = numbers(found.get("edges")), numbers(found.get("counts"))
    for low, high, size in zip(edges, edges[1:], sizes, strict=False):
        counts.append((f"{value(low)} to {value(high)}", size))
    most = max((size for _, size in counts), default=0)
    bars = [
        {"name": name, "count": size, "percent": round(100 * size / most, 2)}
        for name, size in counts
        if most > 0
    ]
    different = found.get("different")
    left_out = different - len(bars) if is_number(different) and not edges else 0
    is_score = found.get("kind") == "score"  # the mean of the numbers of classes says nothing
    names = ("name", "words", "mean") if is_score else ("name", "words")
    rest = [name for name in names if found.get(name) is not None]
    return {
        "bars": bars,
        "left_out": left_out if bars and left_out > 0 else 0,
        "rest": pairs({_LABEL_WORDS[name]: found[name] for name in rest}),
    }


_LABEL_WORDS = {"name": "column", "words": "values", "mean": "mean"}


def _counts(found: Record, name: str) -> list[tuple[str, float]]:
    """Labels and how often they are there, as pairs."""
    rows = found.get(name)
    return [
        (value(row[0]), row[1])
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, list) and len(row) == 2 and is_number(row[1])
    ]


def findings(record: Record) -> list[Record]:
    """What inspect found, with examples."""
    return [
        {
            "kind": title(one.get("kind") or "finding"),
            "count": one.get("count"),
            "effect": one.get("effect") or "",
            "advice": one.get("advice") or "",
            "examples": [_example(some) for some in _list(one.get("examples"))[:_MOST_EXAMPLES]],
        }
        for one in dicts(part(record, "data", "inspection", "findings"))
    ]


def _example(some: Any) -> Record:
    """A row with its number, what was noted of it, and the row that it is compared with."""
    if not isinstance(some, dict):
        return {"row": None, "note": None, "cells": [value(some)], "other": []}
    return {
        "row": some.get("row"),
        "note": some.get("note"),
        "cells": _cells(some.get("cells")),
        "other": _cells(some.get("other")),
    }


def _cells(row: Any) -> list[str]:
    cells = row.values() if isinstance(row, dict) else []
    return [shortened(value(cell), _LONGEST_CELL) for cell in cells]


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []
