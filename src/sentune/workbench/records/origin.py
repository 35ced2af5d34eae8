"""What the card of a trained model is made of: its trainings as one, its results, its start.

The record of `sentune train` keeps it under "runs", a `sentune.record.run.Run` for each candidate
whose weights are in the model, and under "origin", what the card of the start says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentune.errors import InputError, ModelFileError
from sentune.hub.fetch import is_id
from sentune.record.run import FILE, DatasetFacts, Result, Run, runs_in
from sentune.workbench.models.history import ORIGIN, front_of, listed

if TYPE_CHECKING:
    from sentune.workbench.racing.course import Course

_NAMES = {"dev": "rows to choose by", "test": "test rows"}


def for_the_card(course: Course, record: dict[str, Any]) -> dict[str, Any]:
    """What the card of the model is made of, for the record; "runs" is empty for a start.

    The card of the model that is kept gets it, too.
    """
    runs, start = _runs(course, record), course.start.model.model_card_data
    said = front_of(start.loaded_card or "")
    origin = {
        "base_model": start.base_model,
        "license": next(iter(listed(said.get("license_name") or said.get("license"))), None),
        "language": listed(said.get("language")),
    }
    if runs:
        data = course.model.model_card_data
        data.base_model, data.license = origin["base_model"], origin["license"]
        data.language = origin["language"]
        data.generate_widget_examples = not course.settings.no_rows
        for run in runs:
            data.add_run(run)
    return {"runs": [run.to_dict() for run in runs], ORIGIN: origin}


def _runs(course: Course, record: dict[str, Any]) -> list[Run]:
    """The trainings behind what is kept, of each candidate one; the last has the results."""
    if course.winner is None or course.race is None:
        return []
    trainings = [_trainings(course, entry) for entry in course.winner.entries]
    found = [_as_one(each, course, record) for each in trainings if each]
    for run in found[1:]:  # on the same rows, which are counted once
        run.train = [replace(data, size=None) for data in run.train]
    if found:
        found[0].note = _note(course, record)
        found[-1].results = list(_results(record))
    return found


def _trainings(course: Course, entry: Any) -> list[Run]:
    """The records of the trainings of a candidate, one for each part that was held out."""
    race: Any = course.race
    found: list[Run] = []
    for fold in range(len(race.held_out.folds)):
        path = race.kept.place(race.key_of(entry, "full", fold)) / FILE
        try:
            found += runs_in(path)
        except (InputError, ModelFileError):  # as of a training that Ctrl-C ended
            continue
    return found


def _as_one(each: Sequence[Run], course: Course, record: dict[str, Any]) -> Run:
    """Trainings that differ in the part that was held out as one: all rows, all of the time."""
    first, rows = each[0], record["data"]["rows"]
    is_in_turn = len(each) > 1
    size = rows["train"] + rows["dev"] if is_in_turn else None
    ids = [one["name"] for one in record["data"]["source"] if _is_on_the_hub(one["name"])]
    hub_id = ids[0] if len(ids) == len(first.train) == 1 else None
    decided = {"folds": len(each), "alpha": record["decision"]["alpha"]}
    return replace(
        first,
        train=[_shown(one, size, hub_id, course.settings.no_rows) for one in first.train],
        settings={**decided, **first.settings},
        changed=[*decided, *first.changed],
        results=[],
        seconds=_sum(run.seconds for run in each),
        tokens=_sum(run.tokens for run in each),
    )


def _shown(
    data: DatasetFacts, size: int | None, hub_id: str | None, has_no_rows: bool | None
) -> DatasetFacts:
    return replace(
        data,
        size=size or data.size,
        hub_id=data.hub_id or hub_id,
        rows=() if has_no_rows else data.rows,
    )


def _is_on_the_hub(name: str) -> bool:
    return is_id(name) and "/" in name and not Path(name).expanduser().exists()


def _sum(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _note(course: Course, record: dict[str, Any]) -> str:
    """How the model came out of the trainings, in sentences."""
    decision, folds = record["decision"], len(course.held_out.folds)
    sentences = [f"sentune train kept {decision['candidate']}: {decision['reason']}."]
    if folds > 1:
        sentences.append(
            f"It was trained {folds} times, each time on all parts of the rows but one, and the "
            "weights were averaged; steps and log are those of one training, time and tokens of "
            "all."
        )
    if decision["alpha"] < 1:
        sentences.append(
            f"The model has {decision['alpha']:g} of the trained weights and "
            f"{1 - decision['alpha']:g} of those of the start."
        )
    return " ".join(sentences)


def _results(record: dict[str, Any]) -> Iterable[Result]:
    """What was measured on held-out rows, with the figure before and the interval of the gain."""
    metric = record["task"]["metric"]
    for part, name in _NAMES.items():
        found = record["result"].get(part)
        if not found or found["after"] is None:
            continue
        beside = {
            "before training": found["before"],
            "gain": found["gain"],
            "gain, low end (95%)": found["low"],
            "gain, high end (95%)": found["high"],
        }
        known = {words: value for words, value in beside.items() if value is not None}
        label = f"{name} ({found['rows']:,})"
        yield Result("Held-out rows", label, {metric: found["after"]}, metric, beside=known)
