"""What is in a dataset, seen in one pass over its rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from numbers import Integral, Real
from typing import Any

from sentune.data.columns import class_names, input_columns, label_column, label_words, portions
from sentune.data.forms import Label
from sentune.data.statistics import Column, Summary, size_of

_SHOWN = 5  # row numbers named in a message
_COUNTED = 1000  # different floats that are counted; integers are all counted, as classes


@dataclass
class Rows:
    """Numbers of the rows something was seen in: all counted, the first ones kept."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, row: int) -> None:
        """Count one row."""
        self.count += 1
        if self.count <= _SHOWN:
            self.first.append(row)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = f" and {self.count - _SHOWN:,} more" if self.count > _SHOWN else ""
        return f"row{'s' if self.count > 1 else ''} {', '.join(map(str, self.first))}{more}"


@dataclass
class InputColumn:
    """What is in the cells of one input column.

    `blank` are rows with an empty string or only white space, `numbers` those with a number or
    bytes, `lists` those with a list or a dict of lists, which have to be spread out, `dicts` those
    with any other dict.
    """

    column: Column
    missing: Rows = field(default_factory=Rows)
    blank: Rows = field(default_factory=Rows)
    numbers: Rows = field(default_factory=Rows)
    lists: Rows = field(default_factory=Rows)
    dicts: Rows = field(default_factory=Rows)
    is_constant: bool = True
    _first: Any = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.column.name

    @property
    def characters(self) -> int:
        """Characters of all texts together."""
        return int(self.column.sizes.total) if self.column.kind == "text" else 0

    @property
    def longest(self) -> int:
        """Characters of the longest text."""
        return int(self.column.sizes.high) if self.column.kind == "text" else 0

    def read(self, cells: Sequence[Any], start: int) -> None:
        """Read a portion of the column."""
        if start == 0 and cells:
            self._first = cells[0]
        for row, cell in enumerate(cells, start):
            if isinstance(cell, str):
                if not cell or cell.isspace():
                    self.blank.add(row)
            elif cell is None or (isinstance(cell, float) and math.isnan(cell)):
                self.missing.add(row)
            elif isinstance(cell, (Real, bytes)):
                self.numbers.add(row)
            elif isinstance(cell, list) or _has_lists(cell):
                self.lists.add(row)
            elif isinstance(cell, Mapping):
                self.dicts.add(row)
            if self.is_constant:
                self.is_constant = isinstance(cell, str) and cell == self._first


@dataclass
class LabelColumn:
    """What is in the label column.

    `not_finite` are rows with NaN or an infinity, `foreign` those with something that is no number
    and no list of numbers. `counts` has how often each number is there (of very many floats, the
    first ones), `widths` the lengths of the lists, 0 for a plain number and -1 for a list of lists,
    `shapes` the sizes of these. `has_floats` is about types, `has_fractions` about values. `names`
    are those of the classes, where they have any.
    """

    name: str
    missing: Rows = field(default_factory=Rows)
    not_finite: Rows = field(default_factory=Rows)
    foreign: Rows = field(default_factory=Rows)
    low: float = math.inf
    high: float = -math.inf
    counts: Counter[float] = field(default_factory=Counter)
    widths: set[int] = field(default_factory=set)
    has_floats: bool = False
    has_fractions: bool = False
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    is_constant: bool = True
    names: Sequence[str] = ()
    _first: Any = None

    @property
    def has_whole_floats(self) -> bool:
        """Whether these are floats that are all whole numbers, as classes read from a table."""
        return self.label.kind == "score" and not self.has_fractions

    @property
    def label(self) -> Label:
        """The kind of label this is."""
        if self.foreign or len({min(width, 1) for width in self.widths}) != 1:
            return Label("other")
        if -1 in self.widths:
            return Label("matrix")
        if 0 not in self.widths:
            return Label("list", next(iter(self.widths)) if len(self.widths) == 1 else None)
        if set(self.counts) <= {0, 1}:
            return Label("binary")
        return Label("score" if self.has_floats else "class")

    @property
    def embeddings(self) -> tuple[int | None, int | None]:
        """How many embeddings a row has, and their width; None where it has none or they differ."""
        if self.label.kind != "matrix":
            return None, self.label.width
        shape = next(iter(self.shapes)) if len(self.shapes) == 1 else ()
        return (shape[0], shape[1]) if len(shape) == 2 else (None, None)

    @property
    def words(self) -> str:
        """The same in words."""
        label, values = self.label, len(self.counts)
        if label.kind in ("class", "binary") and self.names:
            return f"classes with names ({values:,} different)"
        if label.kind == "class":
            return f"integers ({values:,} different, {self.low:g} to {self.high:g})"
        if label.kind == "score":
            whole = " that are whole numbers" if self.has_whole_floats else ""
            return f"floats{whole} ({self.low:g} to {self.high:g})"
        if label.kind == "list":
            return f"lists of {label.width} numbers" if label.width else "lists of unequal lengths"
        words = {"binary": "zeros and ones", "matrix": "lists of lists"}
        return words.get(label.kind, "values that are not all numbers")

    def name_of(self, value: float) -> str:
        """A label as people know it: the name of a class, or the number."""
        return label_words(value, self.names)

    def read(self, cells: Sequence[Any], start: int) -> None:
        """Read a portion of the column."""
        for row, cell in enumerate(cells, start):
            value = cell.tolist() if hasattr(cell, "tolist") else cell
            if self.is_constant:
                self._first = value if row == 0 else self._first
                self.is_constant = value == self._first
            if value is None:
                self.missing.add(row)
            elif isinstance(value, (list, tuple)):
                self._read_list(value, row)
            elif isinstance(value, Real):
                self._read_number(value, row)
            else:
                self.foreign.add(row)

    def _read_number(self, value: Real, row: int) -> None:
        number = float(value)
        self.widths.add(0)
        if not math.isfinite(number):
            self.not_finite.add(row)
            return
        self.has_floats = self.has_floats or not isinstance(value, Integral)
        self.has_fractions = self.has_fractions or not number.is_integer()
        if not self.has_floats or len(self.counts) < _COUNTED or number in self.counts:
            self.counts[number] += 1
        self.low, self.high = min(self.low, number), max(self.high, number)

    def _read_list(self, values: Sequence[Any], row: int) -> None:
        if values and all(isinstance(value, (list, tuple)) for value in values):
            self.widths.add(-1)
            widths = {len(value) for value in values}
            self.shapes.add((len(values), *widths))  # of three sizes and more if they differ
        elif all(isinstance(value, Real) for value in values):
            self.widths.add(len(values))
            if not all(math.isfinite(value) for value in values):
                self.not_finite.add(row)
        else:
            self.foreign.add(row)


@dataclass
class Profile:
    """What is in the rows of a dataset that were read; `same` are pairs of equal columns."""

    rows: int
    is_whole: bool
    inputs: list[InputColumn]
    label: LabelColumn | None
    same: list[tuple[str, str]]

    @property
    def kind(self) -> Label:
        """The kind of label, also for a dataset without one."""
        return self.label.label if self.label else Label("none")

    @property
    def words(self) -> str:
        """Its columns in words."""
        names = ", ".join(repr(column.name) for column in self.inputs) or "none"
        plural = "s" if len(self.inputs) != 1 else ""
        label = f"{self.label.words} in {self.label.name!r}" if self.label else "no label"
        return f"{len(self.inputs)} text column{plural} ({names}) and {label}"


def profile(data: Any, limit: int | None = None) -> Profile:
    """A profile of a dataset, of at most `limit` rows."""
    inputs: list[InputColumn] = []
    label: LabelColumn | None = None
    same: list[tuple[str, str]] = []
    found = Summary()
    for portion in portions(data, limit):
        start = found.rows
        found.read(portion)
        if not start:
            names = input_columns(list(portion))
            inputs = [InputColumn(found.columns[name]) for name in names]
            same = list(combinations([n for n in names if isinstance(portion[n][0], str)], 2))
            name = label_column(list(portion))
            label = LabelColumn(name, names=class_names(data) or ()) if name else None
        for column in inputs:
            column.read(portion[column.name], start)
        if label:
            label.read(portion[label.name], start)
        same = [pair for pair in same if portion[pair[0]] == portion[pair[1]]]
    is_whole = limit is None or found.rows < limit or size_of(data) == found.rows
    return Profile(found.rows, is_whole, inputs, label, same)


def _has_lists(cell: Any) -> bool:
    return isinstance(cell, Mapping) and any(isinstance(part, list) for part in cell.values())
