"""Where computed rows go."""

from __future__ import annotations

from typing import Any

from sentune.flow.loop import Part
from sentune.vectors import rows as arrays


class Whole:
    """All rows together: one array, gathered in main memory if `on_cpu`, or one list."""

    def __init__(self, items: int, *, on_cpu: bool = True) -> None:
        self.items = items
        self.on_cpu = on_cpu
        self._rows: Any = None

    def put(self, part: Part) -> None:
        """Take the rows of a window."""
        if isinstance(part.rows, list):
            self._rows = [*(self._rows or ()), *part.rows]
        elif len(part.rows) == self.items:
            self._rows = arrays.on_cpu(part.rows) if self.on_cpu else part.rows
        else:
            if self._rows is None:  # one array for all
                self._rows = arrays.empty(self.items, part.rows, on_cpu=self.on_cpu)
            self._rows[part.start : part.start + len(part.rows)] = part.rows

    def result(self) -> Any:
        """The rows; None if there were none."""
        return self._rows
