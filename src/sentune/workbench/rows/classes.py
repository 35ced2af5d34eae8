"""Names of classes in two sets of rows: the same name must be the same number in both."""

from __future__ import annotations

from typing import Any

from sentune.data.columns import class_names, label_column


def aligned(rows: Any, like: Any) -> tuple[Any, list[str]]:
    """Rows whose labels are numbered as in others, where both have names; and the unknown names.

    Each file numbers the words in its label column by itself, so that a class that is missing in
    one would shift all that follow. Names that the others do not have get numbers behind theirs.

    Args:
        rows: A `datasets.Dataset`.
        like: Another, whose numbers stay.
    """
    label = label_column(rows.column_names)
    names, own = class_names(like), class_names(rows)
    if label is None or names is None or own is None or list(own) == list(names):
        return rows, []
    from datasets import ClassLabel

    unknown = [name for name in own if name not in names]
    everything = [*names, *unknown]
    places = [everything.index(name) for name in own]
    numbers = [value if value is None or value < 0 else places[value] for value in rows[label]]
    feature = ClassLabel(names=everything)
    order = list(rows.column_names)
    changed = rows.remove_columns([label]).add_column(label, numbers, feature=feature)
    return changed.select_columns(order), unknown
