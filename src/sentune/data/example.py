"""InputExample: one row of training data, for `model.fit` and a plain `DataLoader`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentune.errors import InputTypeError


@dataclass(eq=False)  # compared and hashed by identity: two rows with the same texts stay two rows
class InputExample:
    """One training example: its texts, in the order of the loss's columns, and its label.

    Args:
        guid: An id of the caller's own; nothing in sentune reads it.
        texts: The texts, e.g. `[anchor, positive]` or `[anchor, positive, negative]`.
        label: What the loss learns from: a score, a class or a list of scores. Losses without
            labels do not read it.

    Raises:
        InputTypeError: If `texts` is one string instead of a list of them.

    Example:
        >>> InputExample(texts=["A cat sleeps.", "A cat is asleep."], label=0.9)
        InputExample(guid='', texts=['A cat sleeps.', 'A cat is asleep.'], label=0.9)
    """

    guid: str = ""
    texts: list[str] | None = None
    label: int | float | list[float] = 0

    def __post_init__(self) -> None:
        if isinstance(self.texts, (str, bytes)):
            raise InputTypeError(
                f"texts must be a list of strings, got the single string {self.texts!r:.60}; "
                "write texts=[...] even for one text"
            )

    def __str__(self) -> str:
        return f"<InputExample> label: {self.label}, texts: {'; '.join(map(str, self.texts or []))}"


def is_example(row: Any) -> bool:
    """Whether it is an example, of this class or of another library's class of that name."""
    return hasattr(row, "texts") and hasattr(row, "label")


def cells_of(example: Any, *, with_label: bool = True) -> dict[str, Any]:
    """The cells of an example: `sentence_0`, `sentence_1` ..., and `label`."""
    cells = {f"sentence_{place}": text for place, text in enumerate(example.texts or ())}
    return {**cells, "label": example.label} if with_label else cells
