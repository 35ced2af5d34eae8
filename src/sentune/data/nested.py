"""Nested rows and rows with lists, spread out into rows of plain texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from sentune.data.columns import LABEL_COLUMNS, is_hub_dataset
from sentune.errors import DatasetError, InputTypeError, SettingError

Row: TypeAlias = "dict[str, Any]"

_NEGATIVE = re.compile(r"neg|hard")


def spread(data: Any, negatives: int = 1) -> Any:
    """The rows with every list spread out, so that each cell of an input column is one text.

    | a row of the data | becomes |
    |---|---|
    | `{"set": {...}}`, any one dict in a column | what the dict becomes |
    | `{"query": q, "pos": [p1, p2], "neg": [n1, n2]}` | a row `query, pos, neg` per positive |
    | `{"query": q, "pos": [p1, p2]}` | a row `query, pos` per positive |
    | `{"anchor": a, "positive": p, "negatives": [n1, n2]}` | one row |
    | `{"query": q, "documents": [d1, d2], "scores": [s1, s2]}` | one row `query, documents_1, \
documents_2, scores`, for distillation |
    | `{"set": [t1, t2, t3]}`, texts that all mean the same | a row `anchor, positive` per pair |

    The columns need not have these names: a text asks, the list after it holds what answers, a
    second list (or one called neg...) the negatives. Several positives take their negatives in
    turn, each the next ones. With several negatives the columns are numbered: `neg_1, neg_2`. A
    label that is one number goes to every row.

    Args:
        data: A `Dataset`, `IterableDataset` or `DatasetDict` of the `datasets` library, or a list
            of dicts; what comes back is of the same kind.
        negatives: How many negatives each row gets.

    Raises:
        DatasetError: If a row has none of these shapes, or too few texts in a list; the message
            names the row.

    Example:
        >>> spread([{"set": {"query": "q", "pos": ["a", "b"], "neg": ["c", "d"]}}])
        [{'query': 'q', 'pos': 'a', 'neg': 'c'}, {'query': 'q', 'pos': 'b', 'neg': 'd'}]
    """
    if negatives < 1:
        raise SettingError(f"negatives must be at least 1, got {negatives}")
    if is_hub_dataset(data):
        return _spread_hub_dataset(data, negatives)
    if isinstance(data, Mapping):  # a DatasetDict, or any dict of datasets
        parts: Any = {name: spread(part, negatives) for name, part in data.items()}
        return type(data)(parts)  # type: ignore[call-arg]
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [new for number, row in enumerate(data) for new in _spread(row, negatives, number)]
    raise InputTypeError(
        "spread takes a Dataset, IterableDataset, DatasetDict or a list of dicts, got "
        f"{type(data).__name__}"
    )


def _spread_hub_dataset(data: Any, negatives: int) -> Any:
    names: list[str] = []

    def spread_portion(portion: Mapping[str, list[Any]], numbers: list[int]) -> Row:
        columns: dict[str, list[Any]] = {}
        for place, number in enumerate(numbers):
            row = {name: cells[place] for name, cells in portion.items()}
            for new in _spread(row, negatives, number):
                names[:] = names or list(new)
                if list(new) != names:
                    raise DatasetError(
                        f"row {number} becomes {', '.join(new)}, and the rows before it "
                        f"{', '.join(names)}: their lists must be equally long"
                    )
                for name, cell in new.items():
                    columns.setdefault(name, []).append(cell)
        return columns

    return data.map(
        spread_portion, batched=True, with_indices=True, remove_columns=list(data.column_names)
    )


def _spread(row: Any, negatives: int, number: int) -> list[Row]:
    """What one row becomes."""
    if not isinstance(row, Mapping):
        raise InputTypeError(f"row {number} is a {type(row).__name__}; rows must be dicts")
    labels = {name: cell for name, cell in row.items() if name in LABEL_COLUMNS}
    inputs = {name: cell for name, cell in row.items() if name not in LABEL_COLUMNS}
    if len(inputs) == 1:
        (only,) = inputs.values()
        if isinstance(only, Mapping):
            return _spread({**only, **labels}, negatives, number)
        if _is_list(only):
            pairs = combinations(only, 2)
            return [{"anchor": one, "positive": other, **labels} for one, other in pairs]
    texts = {name: cell for name, cell in inputs.items() if not _is_list(cell)}
    lists = {name: cell for name, cell in inputs.items() if _is_list(cell)}
    if not lists:
        return [dict(row)]
    scores = next((cell for cell in labels.values() if _is_list(cell)), None)
    if scores is not None and len(texts) == len(lists) == 1:
        return [{**texts, **_scored(lists, scores, number), **labels}]
    if len(texts) in (1, 2) and len(texts) + len(lists) in (2, 3):
        return _with_negatives(texts, lists, labels, negatives, number)
    shape = ", ".join(f"{name}: {type(cell).__name__}" for name, cell in row.items())
    raise DatasetError(
        f"row {number} cannot be spread out, it has {shape}; a query with a list of positives can, "
        "with a list of negatives beside it or not, and a query with documents and scores"
    )


def _scored(lists: Mapping[str, list[str]], scores: list[float], number: int) -> Row:
    ((name, documents),) = lists.items()
    if len(documents) != len(scores):
        raise DatasetError(
            f"row {number} has {len(documents)} texts in {name!r} and {len(scores)} scores; there "
            "must be one score for each text"
        )
    return {f"{name}_{place}": text for place, text in enumerate(documents, start=1)}


def _with_negatives(texts: Row, lists: Row, labels: Row, negatives: int, number: int) -> list[Row]:
    names = sorted(lists, key=lambda name: bool(_NEGATIVE.search(name.lower())))
    # A second text is the positive, and then the only list holds negatives.
    positive = names.pop(0) if len(texts) == 1 else None
    pool = lists[names[0]] if names else []
    if names and len(pool) < negatives:
        raise DatasetError(
            f"row {number} has {len(pool)} texts in {names[0]!r}, and {negatives} are wanted for "
            "each row; ask for fewer negatives, or filter out such rows"
        )
    rows = []
    for turn, text in enumerate(lists[positive] if positive else [None]):
        row = {**texts, **({positive: text} if positive else {})}
        for place in range(negatives if names else 0):
            name = names[0] if negatives == 1 else f"{names[0]}_{place + 1}"
            row[name] = pool[(turn * negatives + place) % len(pool)]
        rows.append({**row, **labels})
    return rows


def _is_list(cell: Any) -> bool:
    return isinstance(cell, (list, tuple))
