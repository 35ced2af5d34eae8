"""Held-out rows to measure models on: complete, of one form, with what to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sentune.data import forms
from sentune.data.columns import input_columns
from sentune.data.forms import Form
from sentune.workbench.rows.classes import aligned
from sentune.workbench.rows.duplicates import normalised
from sentune.workbench.rows.prepared import halves_of, in_parts, rows_of, rows_of_part
from sentune.workbench.settings import Settings

REFERENCES = 20_000  # training rows that neighbours and answers are looked for among, at most


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows, those that give reference texts, and what there is to say of them.

    Attributes:
        form: Of both.
        rows: A `datasets.Dataset`.
        train: Where neighbours and answers are looked for; None for among the rows alone.
        groups: `(n,)`, a number for each row; those that share a text have the same.
        notes: What was done to the rows, and what a reader of the figures should know.
    """

    form: Form
    rows: Any
    train: Any | None
    groups: Any
    notes: list[str]


def held_out(data: Any, train: Any | None, settings: Settings, count: int | None) -> HeldOut:
    """Rows to measure on.

    Args:
        data: What `rows_of` takes.
        train: The same, of rows to look for neighbours and answers in; or None.
        settings: How both are read.
        count: Take a random sample of so many rows; None for all.

    Raises:
        DatasetError: If the rows have no form in which models can be compared.
    """
    found = rows_of(data, settings)
    notes = []
    if count is not None and count < len(found):
        notes.append(f"measured on {count:,} of {len(found):,} rows, chosen at random")
        chosen = np.random.default_rng(settings.seed).permutation(len(found))[:count]
        found = found.select(np.sort(chosen))
    source = found if train is None else rows_of_part(train, "train", settings)
    found, unknown = aligned(found, source)
    if unknown:
        notes.append(
            f"the classes {', '.join(unknown)} are not in the training rows: texts of them cannot "
            "be told right"
        )
    parts = in_parts(source, {"dev": found}, settings, is_trained_on=False)
    form, rows, groups = parts.form, parts.rows["dev"], parts.groups["dev"]
    notes += dict.fromkeys(parts.notes)
    reference = None if train is None else parts.rows["train"]
    if form is forms.TEXT:
        rows, places = halves_of(rows)
        groups, form = groups[places], forms.PAIR
        reference = None if reference is None else halves_of(reference)[0]
        notes.append("the texts have no labels, so the first half of each is to find the second")
    notes += _overlap(rows, reference)
    if reference is not None and len(reference) > REFERENCES:
        notes.append(f"{REFERENCES:,} of {len(reference):,} training rows are looked at")
    if form is forms.TEXT_AND_CLASS and reference is None:
        notes.append(
            "the nearest texts are looked for among the held-out rows themselves; give the "
            "training texts (--train) to measure as a classifier with these would be used"
        )
    return HeldOut(form, rows, reference, groups, notes)


def _overlap(rows: Any, train: Any | None) -> list[str]:
    """A note where texts are on both sides."""
    if train is None:
        return []
    known = {normalised(text) for name in input_columns(train.column_names) for text in train[name]}
    columns = [rows[name] for name in input_columns(rows.column_names)]
    count = sum(
        any(normalised(text) in known for text in row) for row in zip(*columns, strict=True)
    )
    if not count:
        return []
    return [
        f"{count:,} of {len(rows):,} held-out rows have a text that is in the training rows, too; "
        "figures on them say little about new texts"
    ]
