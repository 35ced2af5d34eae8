"""Where the rows came from, and what each part of them was used for."""

from __future__ import annotations

from typing import Any

from sentune.report.tables import dicts, part, rows_of
from sentune.report.words import count, is_number, nearby

Record = dict[str, Any]


def division(record: Record) -> list[Record]:
    """The parts with rows: name, number, use, and what else there is to say of how it is used."""
    rows = part(record, "data", "rows")
    rows = rows if isinstance(rows, dict) else {}
    if record.get("kind") == "evaluate":
        return [
            *_one(rows, "test", "measure on"),
            *_one(rows, "train", "look among", name="to look among"),
            *_one(rows, "dropped", "leave out"),
        ]
    folds = folds_of(record)
    if folds > 1:
        both = {"train": sum(rows[name] for name in ("train", "dev") if _is_some(rows.get(name)))}
        how = f"all of them held out in turn, in {folds} parts"
        parts = _one(both, "train", "train on and to choose by", how, name="train and dev")
    else:
        parts = [
            *_one(rows, "train", "train on"),
            *_one(rows, "dev", "choose by", _of_a_sample(record, rows)),
        ]
    return [*parts, *_one(rows, "test", "measure on"), *_one(rows, "dropped", "leave out")]


def folds_of(record: Record) -> int:
    """In how many parts the rows were held out in turn; 1 for a part that was held out."""
    folds = part(record, "data", "folds")
    return int(folds) if is_number(folds) else 1


def choosing_rows(record: Record) -> str:
    """On which rows the figures to choose by are, in words."""
    measured, folds = part(record, "result", "dev", "rows"), folds_of(record)
    if folds > 1:
        number = f"{count(measured)} " if is_number(measured) else ""
        return f"all {number}rows, held out in turn in {folds} parts"
    rows: Any = part(record, "data", "rows")
    how = _of_a_sample(record, rows if isinstance(rows, dict) else {})
    return f"the dev part, {how}" if how else "the dev part"


def _of_a_sample(record: Record, rows: Record) -> str:
    measured, total = part(record, "result", "dev", "rows"), rows.get("dev")
    if not is_number(measured) or not is_number(total) or measured >= total:
        return ""
    return f"measured on {count(measured)} of {count(total)} rows"


def _one(rows: Record, key: str, use: str, how: str = "", name: str = "") -> list[Record]:
    if not _is_some(rows.get(key)):
        return []
    return [{"key": key, "name": name or key, "rows": rows[key], "use": use, "how": how}]


def _is_some(number: Any) -> bool:
    return is_number(number) and number > 0


def data(record: Record) -> Record | None:
    """Files, forms and how the rows were divided."""
    found = record.get("data")
    if not isinstance(found, dict):
        return None
    parts = division(record)
    return {
        "sources": [
            one | {"name": nearby(str(one["name"] or ""))}
            for one in rows_of(found.get("source"), "name", "rows", "sha256")
        ],
        "is_split": bool(parts) and _is_split(record),
        "forms": _forms(found),
        "parts": parts,
    }


def _forms(data: Record) -> list[Record]:
    """The form of each dataset, and by what it was recognised."""
    several = dicts(part(data, "inspection", "datasets"))
    if len(several) > 1:
        return rows_of(several, "form", "why")
    form = data.get("form") or part(data, "inspection", "form")
    return [{"form": form, "why": part(data, "inspection", "why")}] if form else []


def _is_split(record: Record) -> bool:
    """Whether all parts were split off here, and none came from a file of its own."""
    own = [part(record, "settings", name) for name in ("dev", "test")]
    return record.get("kind") == "train" and not any(own)
