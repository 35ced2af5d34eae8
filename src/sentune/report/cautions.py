"""What a reader must know before the figures: a run that was stopped, rows that were seen."""

from __future__ import annotations

from typing import Any

from sentune.report.tables import dicts, part, shown_names
from sentune.report.words import command, listed, nearby

Record = dict[str, Any]


def cautions(record: Record) -> list[Record]:
    """Sentences, each with a command to go on with or none."""
    seen = [_of_seen_rows(record, one) for one in dicts(record.get("warnings")) if one.get("model")]
    return [*_of_a_stop(record), *seen]


def _of_a_stop(record: Record) -> list[Record]:
    if part(record, "decision", "is_stopped") is not True:
        return []
    is_measured = part(record, "result", "test") is not None
    rest = "" if is_measured else " What was found is of the dev part; test rows were not measured."
    go_on = command(record.get("resume"))
    return [
        {
            "text": f"Stopped by Ctrl-C before the end.{rest}" + (" Go on with:" if go_on else ""),
            "command": go_on,
        }
    ]


def _of_seen_rows(record: Record, one: Record) -> Record:
    name = shown_names(record).get(str(one["model"]), str(one["model"]))
    files = one.get("seen")
    named = [nearby(str(file)) for file in files] if isinstance(files, list) else []
    text = (
        f"{name} was trained on rows of {listed(named) if named else 'these data'}: its figure "
        "says how well it remembers them, not how good it is on new texts."
    )
    return {"text": text, "command": ""}
