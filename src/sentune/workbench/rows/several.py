"""Several datasets of different forms that one model is trained on: the rows of each in parts.

Every dataset is divided and measured by its own form. A text that is held out of one is not trained
on in another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sentune.errors import DatasetError
from sentune.workbench.rows.prepared import TRAIN_AT_LEAST, Parts, form_of, in_parts
from sentune.workbench.rows.prepared import without_held_out as without
from sentune.workbench.settings import Settings


def in_parts_each(
    wholes: Sequence[Any], held_out: Mapping[str, Sequence[Any]], settings: Settings
) -> tuple[Parts, ...]:
    """The parts of each dataset.

    Args:
        wholes: The datasets, as `prepared.datasets_of` reads them.
        held_out: "dev" or "test" -> the same of rows that are held out already; those of a form
            belong to the dataset of that form.
        settings: Of the run.

    Raises:
        DatasetError: If two datasets are of one form, if held-out rows are of another form than all
            of them, or as of `prepared.in_parts`.
    """
    if len(wholes) == 1 and all(len(rows) == 1 for rows in held_out.values()):
        own = {part: rows[0] for part, rows in held_out.items()}
        return (in_parts(wholes[0], own, settings),)
    names = [form_of(whole).name for whole in wholes]
    _check_different(names, wholes)
    by_form: dict[str, dict[str, Any]] = {name: {} for name in names}
    for part, several in held_out.items():
        for rows in several:
            name = form_of(rows).name
            if name not in by_form:
                raise DatasetError(
                    f"held-out rows ({part}) have the form {name!r}, and the training rows "
                    f"{' and '.join(map(repr, names))}; give rows of these forms"
                )
            by_form[name][part] = rows
    found = [
        in_parts(whole, by_form[name], settings) for name, whole in zip(names, wholes, strict=True)
    ]
    first, *others = (_apart(number, found) for number in range(len(found)))
    notes = [_note_of(wholes)] if others else []
    return (replace(first, notes=[*notes, *first.notes]), *others)


def words_of(parts: Sequence[Parts]) -> str:
    """The forms of several datasets in words."""
    return "; ".join(one.form.name for one in parts)


def _note_of(wholes: Sequence[Any]) -> str:
    columns = "; ".join(", ".join(whole.column_names) for whole in wholes)
    return (
        f"the data have different columns ({columns}), so there are {len(wholes)} datasets, each "
        "trained on by its form; to read them as one, choose columns that all have with --columns"
    )


def _check_different(names: Sequence[str], wholes: Sequence[Any]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count == 1:
        return
    columns = [
        ", ".join(whole.column_names)
        for whole, own in zip(wholes, names, strict=True)
        if own == name
    ]
    raise DatasetError(
        f"there are datasets with the columns {' and with '.join(columns)}, and all are of the "
        f"form {name!r}; to train on them together, choose columns that all have with --columns, "
        "as in --columns anchor=query,positive=doc, or call them alike in the files"
    )


def _apart(number: int, several: Sequence[Parts]) -> Parts:
    """A dataset without training rows that have a text held out of another one."""
    own = several[number]
    others = [
        rows
        for place, other in enumerate(several)
        for part, rows in other.rows.items()
        if place != number and part != "train"
    ]
    notes = list(own.notes)
    train = without(own.rows["train"], others, notes, most=1.0)
    if len(train) < TRAIN_AT_LEAST:
        raise DatasetError(
            f"only {len(train)} rows of the form {own.form.name!r} are left to train on, since "
            "their texts are held out of the other datasets; give held-out rows in files of their "
            "own (--dev, --test)"
        )
    left_out = len(own.rows["train"]) - len(train)
    return replace(
        own,
        rows={**own.rows, "train": train},
        groups={part: numbers for part, numbers in own.groups.items() if part != "train"},
        notes=notes,
        dropped=own.dropped + left_out,
    )
