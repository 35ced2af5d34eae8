"""One view of whatever rows people have: named columns, a portion of rows at a time.

Rows can be a `datasets.Dataset` or `IterableDataset`, a table of pandas or polars, a list of dicts,
a list of `InputExample`s, or a dict of equally long lists. Label columns are named `label`,
`labels`, `score` or `scores`; every other column is an input of the loss, in the order of the
dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

from sentune.data.example import cells_of, is_example
from sentune.errors import DatasetError, InputTypeError
from sentune.tables import cells, column_names

_DATASET = "dataset_name"  # a column that says which of several datasets a row is of
LABEL_COLUMNS = ("label", "labels", "score", "scores")
PORTION = 1000  # rows read at a time


def named(data: Any) -> dict[str, Any]:
    """The datasets in the data by name: those of a dict, or the one there is under `""`."""
    if isinstance(data, Mapping) and not _is_columns(data):
        return dict(data)
    return {"": data}


def input_columns(names: Sequence[str]) -> list[str]:
    """The columns that are inputs of a loss, in their order."""
    return [name for name in names if name not in (*LABEL_COLUMNS, _DATASET)]


def label_column(names: Sequence[str]) -> str | None:
    """The column with the labels, or None; DatasetError if there are several."""
    found = [name for name in names if name in LABEL_COLUMNS]
    if len(found) > 1:
        raise DatasetError(
            f"the columns {' and '.join(found)} are all names for labels; a dataset can have one "
            "label column: remove or rename the others"
        )
    return found[0] if found else None


def class_names(data: Any) -> Sequence[str] | None:
    """The names of the classes in the label column, in the order of their numbers; None without."""
    features = (data.features if is_hub_dataset(data) else None) or {}
    return getattr(features.get(label_column(list(features))), "names", None)


def class_name(label: Any, names: Sequence[str] | None) -> str | None:
    """The name of a class, given its number; None where there is none."""
    if names is None or label not in range(len(names)):
        return None
    return str(names[int(label)])


def label_words(label: float, names: Sequence[str] | None) -> str:
    """A label as people know it: the name of its class in quotes, or the number."""
    name = class_name(label, names)
    return f"{label:g}" if name is None else repr(name)


def portions(data: Any, limit: int | None = None) -> Iterator[dict[str, list[Any]]]:
    """The rows, at most `limit`, as columns, `PORTION` rows at a time, after checks."""
    if limit is None:
        yield from _portions(data, PORTION)
        return
    size = min(PORTION, limit)
    for number, portion in enumerate(_portions(data, size)):
        left = limit - number * size
        if left <= 0:
            return
        yield {name: cells[:left] for name, cells in portion.items()}


class Cells(Sequence[Any]):
    """A column of a dataset, read a portion at a time: its size does not matter.

    A `datasets.Dataset` reads row by row when its column is iterated over, which takes 50 times as
    long.

    Args:
        data: A `datasets.Dataset`, or a dict of lists.
        name: Of the column.
    """

    def __init__(self, data: Any, name: str) -> None:
        is_own = getattr(data, "format", {}).get("type") == "custom"
        if is_hub_dataset(data) and not is_own:  # a transform may need the other columns
            data = data.with_format(None).select_columns([name])
        self._data, self._name = data, name

    def __len__(self) -> int:
        return len(self._data[self._name])

    def __iter__(self) -> Iterator[Any]:
        for portion in portions(self._data):
            yield from portion[self._name]

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        found = self._data[self._name][place]
        return list(found) if isinstance(place, slice) else found

    def at(self, places: Any) -> list[Any]:
        """The cells of some rows `(n,)`, in the order of these."""
        if is_hub_dataset(self._data):
            return list(Cells(self._data.select(places), self._name))
        return [self._data[self._name][place] for place in places]


def cells_at(column: Sequence[Any], places: Any) -> list[Any]:
    """Some cells `(n,)` of a list or of `Cells`, in the order of the places."""
    return column.at(places) if isinstance(column, Cells) else [column[place] for place in places]


def is_hub_dataset(data: Any) -> bool:
    """Whether this is a `Dataset` or `IterableDataset` of the `datasets` library."""
    return all(hasattr(data, name) for name in ("column_names", "features", "iter", "with_format"))


def _portions(data: Any, size: int) -> Iterator[dict[str, list[Any]]]:
    if is_hub_dataset(data):
        yield from _of_hub_dataset(data, size)
    elif isinstance(data, Mapping) and _is_columns(data):
        yield from _of_columns(data, size)
    elif (names := column_names(data)) is not None:
        yield from _of_columns({name: cells(data, name) for name in names}, size)
    elif _has_rows(data):
        yield from _of_rows(data, size)
    else:
        raise InputTypeError(
            f"training data must be a datasets.Dataset or IterableDataset, a list of dicts, a list "
            f"of InputExamples or a dict of lists, got {type(data).__name__}"
        )


def _is_columns(data: Mapping[str, Any]) -> bool:
    """Whether a dict holds columns (lists of cells), not datasets."""
    return all(
        isinstance(cells, Sequence)
        and not isinstance(cells, str)
        and not (cells and (is_example(cells[0]) or isinstance(cells[0], Mapping)))
        for cells in data.values()
    )


def _has_rows(data: Any) -> bool:
    is_text = isinstance(data, (str, bytes, Mapping))
    return hasattr(data, "__len__") and hasattr(data, "__getitem__") and not is_text


def _of_hub_dataset(data: Any, size: int) -> Iterator[dict[str, list[Any]]]:
    # A transform set by the user makes the columns that training will see: keep it. Other formats
    # (torch, numpy) would only turn plain values into arrays.
    is_own = getattr(data, "format", {}).get("type") == "custom"
    plain = data if is_own else data.with_format(None)
    for portion in plain.iter(batch_size=size):
        yield {name: list(cells) for name, cells in portion.items()}


def _of_columns(data: Mapping[str, Any], size: int) -> Iterator[dict[str, list[Any]]]:
    lengths = {name: len(cells) for name, cells in data.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"the columns must be equally long, got {lengths}")
    for start in range(0, max(lengths.values(), default=0), size):
        yield {name: list(cells[start : start + size]) for name, cells in data.items()}


def _of_rows(data: Any, size: int) -> Iterator[dict[str, list[Any]]]:
    rows = ((number, _as_dict(data[number], number)) for number in range(len(data)))
    names: list[str] | None = None
    while portion := list(islice(rows, size)):
        names = names if names is not None else list(portion[0][1])
        for number, row in portion:
            if list(row) != names:
                raise DatasetError(
                    f"row {number} has the columns {', '.join(row)}, row 0 has {', '.join(names)}; "
                    "every row must have the same ones, in the same order"
                )
        yield {name: [row[name] for _, row in portion] for name in names}


def _as_dict(row: Any, number: int) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if is_example(row):
        return cells_of(row)
    raise InputTypeError(
        f"row {number} is a {type(row).__name__}; rows must be dicts or InputExamples"
    )
