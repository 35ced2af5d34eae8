"""Rows as columns of texts, labels, and the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentune.data.columns import Cells, class_name, class_names, input_columns, label_column


@dataclass(frozen=True)
class Rows:
    """Rows as columns.

    Attributes:
        columns: The text columns by name, in order.
        labels: A label for each row; None without.
        names: Name of each class; None where classes have none.
    """

    columns: dict[str, list[str]]
    labels: list[Any] | None
    names: Sequence[str] | None

    @classmethod
    def of(cls, data: Any, places: Any | None = None) -> Rows:
        """Those of a dict of lists or a dataset: all, or those at some places `(n,)`."""
        names = list(getattr(data, "column_names", None) or data)
        label = label_column(names)

        def cells(name: str) -> list[Any]:
            column = Cells(data, name)
            return list(column) if places is None else column.at(places)

        columns = {name: cells(name) for name in input_columns(names)}
        return cls(columns, None if label is None else cells(label), class_names(data))

    @property
    def texts(self) -> tuple[list[str], ...]:
        """The text columns without their names."""
        return tuple(self.columns.values())

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), ()))

    def take(self, places: Any) -> Rows:
        """Some of the rows."""
        columns = {name: [cells[row] for row in places] for name, cells in self.columns.items()}
        labels = None if self.labels is None else [self.labels[row] for row in places]
        return Rows(columns, labels, self.names)

    def sample(self, most: int, seed: int) -> Rows:
        """At most so many rows, in their order."""
        if self.count <= most:
            return self
        return self.take(np.sort(np.random.default_rng(seed).permutation(self.count)[:most]))

    def name_of(self, label: Any) -> str:
        """A class in words."""
        name = class_name(label, self.names)
        return str(label) if name is None else name
