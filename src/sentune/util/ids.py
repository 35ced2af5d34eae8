"""Rows that hold ids of texts, as rows that hold the texts."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from sentune.checks import check_positive
from sentune.errors import InputError, InputTypeError, SettingError

logger = logging.getLogger(__name__)

LABELS = ("label", "labels", "score", "scores")
_PORTION = 50_000
_WIDEST_KEY = 128  # bytes: an array of texts is as wide as its longest


def resolve_ids(
    lookups: Mapping[str, Any],
    keep_columns: Sequence[str] = LABELS,
    max_list_length: int | None = None,
    output_format: Literal["columns", "lists"] = "columns",
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function of batches for `Dataset.set_transform`, or `map` with `batched=True`.

    It puts texts (or what else the lookups hold) in the place of their ids. A column "query_id"
    becomes "query"; a list of ids in "document_ids" becomes "document_1", "document_2" and so on.
    Columns come in the order of `lookups`, then those that are kept; all others are left out.

    Args:
        lookups: Column of ids -> a `Dataset` with one column named "id" or ending in "_id" and one
            other; or `(dataset, id column)`, or `(dataset, id column, value column)`.
        keep_columns: Columns to keep as they are, if they are there.
        max_list_length: Keep this many of each list, of ids or in a kept column; None for all.
        output_format: "lists" keeps a list as one, in "documents"; lists may then differ in length.

    Raises:
        InputError: If the columns of a lookup cannot be told apart; when a batch is read, if lists
            differ in length, or two columns get one name.
        KeyError: When a batch is read, if there is no such id.
    """
    if isinstance(keep_columns, str):
        raise InputTypeError(f"keep_columns must be a list of names, got {keep_columns!r}")
    if max_list_length is not None:
        check_positive(max_list_length=max_list_length)
    if output_format not in ("columns", "lists"):
        raise SettingError(f"output_format must be 'columns' or 'lists', got {output_format!r}")
    made: dict[tuple[int, str], _Index] = {}
    found = {name: _lookup(name, given, made) for name, given in lookups.items()}
    return partial(
        _resolved,
        lookups=found,
        kept=tuple(keep_columns),
        limit=max_list_length,
        as_lists=output_format == "lists",
    )


class _Index:
    """Id -> row: sorted arrays where they hold the ids in less memory than a dict, else that."""

    def __init__(self, ids: list[Any], name: str) -> None:
        keys = np.asarray(ids) if len({type(one) for one in ids}) == 1 else np.empty(0, object)
        is_flat = keys.ndim == 1 and keys.dtype.kind in "iU" and keys.itemsize <= _WIDEST_KEY
        self.rows: dict[Any, int] = {} if is_flat else {one: n for n, one in enumerate(ids)}
        self.keys = keys if is_flat else None
        if is_flat:
            # Of equal ids the last one counts, as in a dict.
            self.keys, first = np.unique(keys[::-1], return_index=True)
            self.places = len(ids) - 1 - first
        size = len(self.rows) if self.keys is None else len(self.keys)
        if size < len(ids):
            logger.warning("%d ids in %r are there twice; the last counts", len(ids) - size, name)

    def find(self, ids: Sequence[Any], column: str) -> list[int]:
        """The rows of some ids."""
        for one in ids:
            if not isinstance(one, Hashable):
                raise InputTypeError(
                    f"column {column!r} holds a {type(one).__name__} where an id should be; take "
                    "the format of the dataset off with dataset.with_format(None)"
                )
        if self.keys is None:
            found = [self.rows.get(one, -1) for one in ids]
        else:
            asked = np.asarray(ids)
            found = [-1] * len(ids)
            if asked.dtype.kind == self.keys.dtype.kind and len(self.keys):
                place = np.searchsorted(self.keys, asked).clip(max=len(self.keys) - 1)
                found = np.where(self.keys[place] == asked, self.places[place], -1).tolist()
        if -1 in found:
            raise KeyError(f"column {column!r} has the id {ids[found.index(-1)]!r}, its lookup not")
        return found


@dataclass(frozen=True)
class _Lookup:
    values: Any  # a dataset with one column
    index: _Index
    column: str

    def take(self, ids: Sequence[Any], column: str) -> list[Any]:
        """The values of some ids."""
        if not len(ids):
            return []
        return list(self.values[self.index.find(ids, column)][self.column])


def _lookup(name: str, given: Any, made: dict[tuple[int, str], _Index]) -> _Lookup:
    from datasets import Dataset

    data, *columns = given if isinstance(given, tuple) else (given,)
    if not isinstance(data, Dataset) or len(columns) > 2:
        raise InputTypeError(
            f"lookups[{name!r}] must be a Dataset, (Dataset, id column) or (Dataset, id column, "
            f"value column), got {type(data).__name__}; of a DatasetDict give one of its datasets"
        )
    plain, known = data.with_format(None), data.column_names
    ids = (
        columns[0] if columns else _only([c for c in known if c == "id" or c.endswith("_id")], name)
    )
    value = columns[1] if len(columns) == 2 else _only([c for c in known if c != ids], name)
    if missing := [column for column in (ids, value) if column not in known]:
        raise InputError(f"lookups[{name!r}] has no column {missing[0]!r}, only {known}")
    key = (id(data), ids)
    if key not in made:
        portions = plain.select_columns([ids]).iter(batch_size=_PORTION)
        made[key] = _Index([one for portion in portions for one in portion[ids]], name)
    return _Lookup(plain.select_columns([value]), made[key], value)


def _only(found: list[str], name: str) -> str:
    if len(found) != 1:
        raise InputError(
            f"lookups[{name!r}] has {found or 'no columns'} where one column is needed; name them: "
            "(dataset, id column, value column)"
        )
    return found[0]


def _resolved(
    batch: dict[str, Any],
    lookups: dict[str, _Lookup],
    kept: tuple[str, ...],
    limit: int | None,
    as_lists: bool,
) -> dict[str, Any]:
    """A batch with values in the place of ids. It is no closure, so that workers can have it."""
    found: dict[str, Any] = {}

    def add(name: str, values: Any) -> None:
        if name in found:
            raise InputError(f"two columns would be named {name!r}; rename the columns of ids")
        found[name] = values

    for name, lookup in lookups.items():
        column = _plain(batch, name)
        if not column or not isinstance(column[0], (list, tuple)):
            add(_stem(name), lookup.take(column, name))
            continue
        column = [row[:limit] for row in column]
        values = iter(lookup.take([one for row in column for one in row], name))
        rows = [[next(values) for _ in row] for row in column]
        if as_lists:
            add(_plural(name), rows)
            continue
        if len({len(row) for row in rows}) > 1 or not rows[0]:
            raise InputError(
                f"the lists in {name!r} have {sorted({len(row) for row in rows})} ids, and each id "
                "gets a column; set max_list_length, or output_format='lists'"
            )
        for place, values_there in enumerate(zip(*rows, strict=True), 1):
            add(f"{_stem(name)}_{place}", list(values_there))
    for name in kept:
        if name in batch:
            values = _parsed(batch[name], name)
            is_listed = len(values) and hasattr(values[0], "__len__") and type(values[0]) is not str
            add(name, [row[:limit] for row in values] if is_listed and limit else values)
    return found


def _plain(batch: Any, name: str) -> list[Any]:
    column = batch[name] if isinstance(batch, Mapping) else None
    if not isinstance(column, list):
        raise InputTypeError(
            f"column {name!r} is a {type(column).__name__} and not a list; take the format of the "
            "dataset off with dataset.with_format(None)"
        )
    return list(_parsed(column, name))


def _parsed(column: Any, name: str) -> Any:
    """A column; lists that some datasets hold as text, as lists."""
    if not len(column) or not isinstance(column[0], str) or not column[0].lstrip().startswith("["):
        return column
    try:
        rows = [ast.literal_eval(row) for row in column]
    except (ValueError, SyntaxError) as error:
        raise InputError(f"column {name!r} holds lists as text, and one is not: {error}") from error
    if not all(isinstance(row, (list, tuple)) for row in rows):
        raise InputError(f"column {name!r} holds lists as text, and other texts")
    return [list(row) for row in rows]


def _stem(name: str) -> str:
    """The name of a column of ids without what says so."""
    return next((name.removesuffix(s) for s in ("_ids", "_id", "_idx") if name.endswith(s)), name)


def _plural(name: str) -> str:
    if name.endswith("y_ids"):
        return name.removesuffix("y_ids") + "ies"
    return f"{_stem(name)}s" if name.endswith("_ids") else _stem(name)
