"""Statistics of the columns of a dataset, whatever they are there for."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

from sentune.data.columns import portions

_KEPT_ROWS = 5
_MOST_VALUES = 10  # different whole numbers of a column that is described by their shares

CountTokens: TypeAlias = "Callable[[list[str]], Sequence[int]]"


@dataclass
class Spread:
    """How many numbers there are, their sum and their range; all 0 if there are none."""

    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.total / max(self.count, 1)

    def add(self, numbers: Sequence[float]) -> None:
        """Add some numbers."""
        if numbers:
            low, high = min(numbers), max(numbers)
            self.low = min(self.low, low) if self.count else low
            self.high = max(self.high, high) if self.count else high
            self.total = math.fsum((self.total, *numbers))
            self.count += len(numbers)


@dataclass
class Column:
    """Statistics of a column, whatever it is there for.

    Its `kind` is what its first cell that is not None is: "text", "number", "list", or its type.
    `sizes` are characters of texts, entries of lists, or the finite numbers; `counts` has how often
    each number is there, where all are whole and few are different.
    """

    name: str
    kind: str = "NoneType"
    sizes: Spread = field(default_factory=Spread)
    tokens: Spread = field(default_factory=Spread)
    counts: dict[int, int] | None = field(default_factory=dict)

    def read(self, cells: Sequence[Any], count_tokens: CountTokens | None = None) -> None:
        """Read a portion of the column; `count_tokens` gives the tokens of each of its texts."""
        if self.kind == "NoneType":
            self.kind = _kind(next((cell for cell in cells if cell is not None), None))
        if self.kind == "text":
            texts = [cell for cell in cells if isinstance(cell, str)]
            self.sizes.add([len(text) for text in texts])
            self.tokens.add([] if count_tokens is None else list(count_tokens(texts)))
        elif self.kind == "list":
            self.sizes.add([len(cell) for cell in cells if isinstance(cell, (list, tuple))])
        elif self.kind == "number":
            self._read_numbers([n for n in map(_scalar, cells) if isinstance(n, (int, float))])

    def _read_numbers(self, numbers: list[float]) -> None:
        self.sizes.add([n for n in numbers if abs(n) <= sys.float_info.max])  # no NaN, no infinity
        if self.counts is not None:
            found = Counter(self.counts)
            found.update(number for number in numbers if isinstance(number, int))
            is_whole = all(isinstance(number, int) for number in numbers)
            self.counts = dict(found) if is_whole and len(found) <= _MOST_VALUES else None


@dataclass
class Summary:
    """Statistics of the columns of a dataset, by name, and its first rows as lists of cells."""

    rows: int = 0
    columns: dict[str, Column] = field(default_factory=dict)
    first: list[list[Any]] = field(default_factory=list)

    def read(
        self, portion: Mapping[str, Sequence[Any]], count_tokens: CountTokens | None = None
    ) -> None:
        """Read a portion of the rows, name -> cells; `count_tokens` as in `Column.read`."""
        if not self.rows:
            self.columns = {name: Column(name) for name in portion}
            rows = zip(*portion.values(), strict=False)
            self.first = [list(row) for row in islice(rows, _KEPT_ROWS)]
        for name, column in self.columns.items():
            column.read(portion[name], count_tokens)
        self.rows += len(next(iter(portion.values()), ()))


def summary(data: Any, limit: int, count_tokens: CountTokens | None = None) -> Summary:
    """Statistics of the columns of a dataset, of at most `limit` rows."""
    found = Summary()
    for portion in portions(data, limit):
        found.read(portion, count_tokens)
        if found.rows >= limit:  # a stream is not read further
            break
    return found


def size_of(data: Any) -> int | None:
    """How many rows a dataset has; None if it does not know."""
    if isinstance(data, Mapping):
        return len(next(iter(data.values()), ()))
    return len(data) if hasattr(data, "__len__") else None


def _kind(cell: Any) -> str:
    kinds = (("text", str), ("number", (int, float)), ("list", (list, tuple)))
    found = (name for name, types in kinds if isinstance(_scalar(cell), types))
    return next(found, type(cell).__name__)


def _scalar(cell: Any) -> Any:
    """A cell, a number of numpy or torch as Python's own."""
    return cell.item() if hasattr(cell, "item") and not getattr(cell, "ndim", 1) else cell
