"""Rows as the checks see them: texts with numbers that say which are the same, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sentune.data import forms
from sentune.data.columns import label_words
from sentune.data.forms import Form
from sentune.workbench.rows.duplicates import letters_of, near_duplicates, normalised

if TYPE_CHECKING:
    from sentune.workbench.inspection.meaning import Meaning

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]

_SCORED = (forms.PAIR_AND_SCORE, forms.PAIR_AND_MATCH)
_BATCHED = (forms.PAIR, forms.TRIPLET, forms.NEGATIVES)
_APART = 0.25  # of the range of scores; less is how people differ


@dataclass
class Table:
    """Rows seen as columns of texts, and what all checks need of them.

    Args:
        names: Of the n columns of texts, in their order.
        texts: A list of texts for each; "" where there is none.
        labels: `(rows,)`: scores or numbers of classes, NaN where one is missing; None where there
            are none at all, or lists.
        form: What the rows are; None if no loss reads them.
        exact: `(rows, n)`: texts with one number are the same but for white space around them.
        plain: `(rows, n)`: the same but for case, punctuation and spaces.
        near: `(rows, n)`: near duplicates of each other.
        test: Rows that are not to be among these; their numbers mean the same.
        meaning: What a model makes of the texts; None without one.
        classes: Words for the labels, where they have any.
    """

    names: list[str]
    texts: list[list[str]]
    labels: FloatArray | None
    form: Form | None
    exact: IntArray
    plain: IntArray
    near: IntArray
    test: Table | None = None
    meaning: Meaning | None = None
    classes: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def is_scored(self) -> bool:
        """Whether a row says how alike two texts are, in either order."""
        return self.form in _SCORED

    @property
    def is_batched(self) -> bool:
        """Whether losses take the other rows of a batch as negatives."""
        return self.form in _BATCHED

    @property
    def tolerance(self) -> float:
        """Up to which difference two labels of the same texts say the same."""
        if self.labels is None or self.form is not forms.PAIR_AND_SCORE:
            return 0.0
        known = self.known_labels()
        return _APART * float(np.ptp(known)) if len(known) else 0.0

    def label_words(self, label: float) -> str:
        """A label as the user wrote it."""
        return label_words(label, self.classes)

    def groups(self, numbers: IntArray) -> IntArray:
        """`(rows,)`: a number for each row; rows with the same texts have the same one."""
        ordered = np.sort(numbers, axis=1) if self.is_scored else numbers
        group = ordered[:, 0]
        for column in ordered.T[1:]:  # numbers of pairs, then of these with the next
            both = group * (column.max(initial=0) + 1) + column
            group = np.unique(both, return_inverse=True)[1].astype(np.int64)
        return group

    def is_whole(self) -> NDArray[np.bool_]:
        """`(rows,)`: whether neither a text nor the label of a row is missing."""
        has_texts = np.asarray((self.exact >= 0).all(1))
        return has_texts if self.labels is None else has_texts & ~np.isnan(self.labels)

    def known_labels(self) -> FloatArray:
        """The labels of the rows that have one, which is a number with an end."""
        assert self.labels is not None
        return self.labels[np.isfinite(self.labels)]


def tables(
    names: list[str],
    columns: Sequence[Sequence[str]],
    labels: FloatArray | None,
    form: Form | None,
    test: Sequence[Sequence[str]] | None = None,
) -> Table:
    """A table of some rows, and of test rows with the same columns inside it."""
    every = [*columns, *(test or ())]
    first: dict[str, int] = {}
    exact = [_numbers([text.strip() for text in texts], first) for texts in every]
    texts = list(first)
    plain = _of_plain(texts)
    near = _of_near(texts)
    ids = [_stacked(exact, None), _stacked(exact, plain), _stacked(exact, near)]
    n = len(names)
    parts = [_part(columns, id_, slice(n)) for id_ in ids]
    table = Table(names, list(map(list, columns)), labels, form, parts[0], parts[1], parts[2])
    if test is not None:
        others = [_part(test, id_, slice(n, None)) for id_ in ids]
        table.test = Table(
            names, list(map(list, test)), None, form, others[0], others[1], others[2]
        )
    return table


def _numbers(texts: list[str], first: dict[str, int]) -> IntArray:
    """The number of each text; -1 for an empty one."""
    found = (first.setdefault(text, len(first)) if text else -1 for text in texts)
    return np.fromiter(found, np.int64, len(texts))


def _of_plain(texts: list[str]) -> IntArray:
    first: dict[str, int] = {}
    found = (first.setdefault(letters_of(normalised(t).split()), i) for i, t in enumerate(texts))
    return np.fromiter(found, np.int64, len(texts))


def _of_near(texts: list[str]) -> IntArray:
    """For each text the first of those that it is near to, directly or through others."""
    above = list(range(len(texts)))

    def top(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    for i, j, _ in near_duplicates(texts):
        one, two = top(i), top(j)
        above[max(one, two)] = min(one, two)
    return np.fromiter(map(top, range(len(texts))), np.int64, len(texts))


def _stacked(exact: list[IntArray], by_text: IntArray | None) -> list[IntArray]:
    if by_text is None or not len(by_text):
        return exact
    return [np.where(ids < 0, -1, by_text[ids]) for ids in exact]


def _part(columns: Sequence[Sequence[str]], ids: list[IntArray], which: slice) -> IntArray:
    chosen = ids[which]
    return np.stack(chosen, 1) if chosen else np.zeros((0, len(columns)), np.int64)
