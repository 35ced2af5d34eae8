"""Rows to train on, to choose by, and to test with, without a text in two of them.

Rows that share a text, or have texts that are near duplicates, are one group; groups stay whole.
Where so many rows hang together that they cannot, a part is grown from neighbour to neighbour, and
the rows that link it with the training rows are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentune.errors import SettingError
from sentune.workbench.duplicates import near_duplicates, normalised

Ints = NDArray[np.int64]
TRAIN = "train"
_BINS = 5  # of scores, each of which gives an even share
_OVER = 1.2  # of what a part is still owed, at most, in one group
_LARGEST = 0.2  # share of the rows: a larger group cannot stay whole


@dataclass(frozen=True)
class Split:
    """Row numbers of each part, in order; `dropped` are in none, since they link two parts."""

    parts: Mapping[str, Ints]
    dropped: Ints
    groups: Ints  # (n,) of all rows

    def __getitem__(self, part: str) -> Ints:
        """The rows of a part."""
        return self.parts[part]


def groups_of(columns: Sequence[Sequence[str]], *, has_near: bool = True) -> Ints:
    """A number for each row `(n,)`; rows that share a text or a near duplicate have the same.

    Args:
        columns: The texts of the rows, a list for each column.
        has_near: Whether near duplicates count as the same text.
    """
    texts = text_numbers(columns, has_near=has_near)
    groups = _Groups(int(texts.max()) + 1)
    for column in texts[1:]:
        groups.join(texts[0], column)
    return groups.numbers()[texts[0]]


def text_numbers(columns: Sequence[Sequence[str]], *, has_near: bool = True) -> Ints:
    """A number for each text `(n columns, n rows)`; the same for (near) duplicates."""
    places: dict[str, int] = {}
    firsts: list[str] = []
    numbers = np.empty((len(columns), len(columns[0])), np.int64)
    for at, column in enumerate(columns):
        for row, text in enumerate(column):
            place = places.setdefault(normalised(text), len(places))
            if place == len(firsts):
                firsts.append(text)
            numbers[at, row] = place
    if not has_near:
        return numbers
    groups = _Groups(len(firsts))
    pairs = np.array([pair[:2] for pair in near_duplicates(firsts)], np.int64).reshape(-1, 2)
    groups.join(pairs[:, 0], pairs[:, 1])
    return groups.numbers()[numbers]


def split(
    columns: Sequence[Sequence[str]],
    labels: Sequence[Any] | None = None,
    parts: Mapping[str, float] | None = None,
    seed: int = 12,
    *,
    has_near: bool = True,
) -> Split:
    """Rows of a dataset in parts; what is in none of the named ones is in "train".

    Args:
        columns: The texts of the rows, a list for each column.
        labels: Of the rows: each part has an even share of each class, or of low and high scores.
        parts: Share of each part, above 0, below 1 together; None for `{"dev": 0.1, "test": 0.1}`.
        seed: The same seed gives the same parts.
        has_near: Whether near duplicates count as the same text.

    Raises:
        SettingError: If the shares are not such, or a part would be empty.
    """
    shares = dict(parts if parts is not None else {"dev": 0.1, "test": 0.1})
    if TRAIN in shares or any(share <= 0 for share in shares.values()) or sum(shares.values()) >= 1:
        raise SettingError(f"shares of parts must be above 0 and below 1 together, got {shares}")
    texts = text_numbers(columns, has_near=has_near)
    groups = _Groups(int(texts.max()) + 1)
    for column in texts[1:]:
        groups.join(texts[0], column)
    group = groups.numbers()[texts[0]]
    random = np.random.default_rng(seed)
    count = len(group)
    part_of = np.zeros(count, np.int64)  # 0 for train, then the parts in their order
    is_large = np.bincount(group) > max(1, _LARGEST * count)
    small = np.flatnonzero(~is_large[group])
    strata = _strata(labels, count)
    wanted = list(shares.values())
    _deal(small, group, strata, wanted, part_of, random)
    dropped = np.zeros(count, bool)
    for number in np.flatnonzero(is_large):
        rows = np.flatnonzero(group == number)
        for part, share in enumerate(wanted, start=1):
            _grow(rows, texts, part, round(share * len(rows)), part_of, dropped, random)
    named = {
        name: np.flatnonzero((part_of == number) & ~dropped)
        for number, name in enumerate((TRAIN, *shares))
    }
    empty = [name for name, rows in named.items() if not len(rows)]
    if empty:
        raise SettingError(
            f"too few rows to hold some out, {', '.join(empty)} would be empty: {count} rows, of "
            f"which {len(np.unique(group))} share no text with another; give more rows, or the "
            "held-out rows in a file of their own"
        )
    return Split(named, np.flatnonzero(dropped), group)


def _strata(labels: Sequence[Any] | None, count: int) -> Ints:
    """A number for each row: its class, or about how high its score is."""
    values = np.asarray(labels if labels is not None else np.zeros(count))
    if values.ndim > 1 or values.dtype == object:  # lists of scores
        return np.zeros(count, np.int64)
    if values.dtype.kind == "f":
        edges = np.quantile(values, np.arange(1, _BINS) / _BINS)
        return np.searchsorted(edges, values).astype(np.int64)
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _deal(
    rows: Ints,
    group: Ints,
    strata: Ints,
    shares: Sequence[float],
    part_of: Ints,
    random: np.random.Generator,
) -> None:
    """Deal whole groups of rows to parts, of each stratum as many rows as its share asks for."""
    if not len(rows):
        return
    members = np.split(
        rows[np.argsort(group[rows], kind="stable")],
        np.cumsum(np.unique(group[rows], return_counts=True)[1])[:-1],
    )
    by_stratum: dict[int, list[Ints]] = {}
    for number in random.permutation(len(members)):
        by_stratum.setdefault(int(strata[members[number][0]]), []).append(members[number])
    # What a stratum is too small to give in whole rows, the next one gives.
    owed = np.zeros(len(shares))
    for stratum in sorted(by_stratum):
        found = by_stratum[stratum]
        total = sum(map(len, found))
        given = iter(found)
        for part, share in enumerate(shares, start=1):
            owed[part - 1] += share * total
            while owed[part - 1] >= 0.5 and (one := next(given, None)) is not None:
                if len(one) <= max(1, _OVER * owed[part - 1]):  # else it is trained on
                    part_of[one] = part
                    owed[part - 1] -= len(one)


def _grow(
    rows: Ints,
    texts: Ints,
    part: int,
    wanted: int,
    part_of: Ints,
    dropped: Ints | NDArray[np.bool_],
    random: np.random.Generator,
) -> None:
    """Give a part so many rows that hang together; drop those that link them with the others."""
    free = [row for row in rows.tolist() if part_of[row] == 0 and not dropped[row]]
    with_text: dict[int, list[int]] = {}
    for row in free:
        for text in texts[:, row].tolist():
            with_text.setdefault(text, []).append(row)
    taken: set[int] = set()
    seen: set[int] = set()
    queue: deque[int] = deque()
    order = iter(random.permutation(free).tolist())
    while len(taken) < wanted:
        if not queue:
            start = next((row for row in order if row not in seen), None)
            if start is None:
                break
            queue.append(start)
            seen.add(start)
        row = queue.popleft()
        taken.add(row)
        for text in texts[:, row].tolist():
            for other in with_text[text]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
    own_texts = {text for row in taken for text in texts[:, row].tolist()}
    part_of[list(taken)] = part
    for text in own_texts:
        for row in with_text[text]:
            if row not in taken:
                dropped[row] = True


class _Groups:
    """Sets of numbers that are joined (union-find)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def join(self, first: Ints, second: Ints) -> None:
        """Put each number of `first` into the set of that beside it in `second`."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self._top(one), self._top(other)))
            self._above[high] = low

    def numbers(self) -> Ints:
        """A number for each set, `(n,)`, from 0 on."""
        tops = np.array([self._top(one) for one in range(len(self._above))], np.int64)
        return np.unique(tops, return_inverse=True)[1].astype(np.int64)

    def _top(self, one: int) -> int:
        above = self._above
        while above[one] != one:
            above[one] = above[above[one]]  # halve the way for the next time
            one = above[one]
        return one
