"""What a check gives: rows, and what is wrong with each of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sentune.workbench.inspection.table import IntArray


@dataclass(frozen=True)
class Hits:
    """Rows in which something was found.

    Args:
        rows: Their numbers, from 0.
        notes: What is wrong with each, in a few words.
        others: For each the row it belongs to, of the same data; -1 where there is none.
        order: Places in `rows` of those to show as examples, the most telling first.
    """

    rows: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)


def hits(
    rows: NDArray[np.integer] | list[int],
    note: str,
    others: IntArray | list[int] | None = None,
    order: list[int] | None = None,
) -> Hits:
    """Hits of one kind; `{other}` in the note is the other row, `{row}` the row itself."""
    numbers = [int(row) for row in rows]
    related = [-1] * len(numbers) if others is None else [int(other) for other in others]
    notes = [note.format(row=row, other=other) for row, other in zip(numbers, related, strict=True)]
    return Hits(numbers, notes, related, order or list(range(len(numbers))))
