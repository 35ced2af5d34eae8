"""Rows to train on, to choose by, and to test with, without a text in two of them.

Rows that share a text, or have texts that are near duplicates, are one group; groups stay whole.
Where so many rows hang together that they cannot, a part is grown from neighbour to neighbour, and
the rows that link it with the training rows are dropped.

To compare all texts of a large dataset takes much longer than to compare the few held-out ones
with the others. So of many texts only the equal ones are grouped beforehand, and the training rows
with a near duplicate of a held-out text are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentune.data.columns import cells_at
from sentune.errors import SettingError
from sentune.workbench.rows.duplicates import near_duplicates, normalised

Ints = NDArray[np.int64]
TRAIN = "train"
_BINS = 5  # of scores, each of which gives an even share
_OVER = 1.2  # of what a part is still owed, at most, in one group
_LARGEST = 0.2  # share of the rows: a larger group cannot stay whole
MANY = 100_000  # different texts, which are compared with each other in 10 s or so
_PORTION = 200_000  # texts compared with the held-out ones at a time


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
    return _groups_of(text_numbers(columns, has_near=has_near))


def text_numbers(columns: Sequence[Sequence[str]], *, has_near: bool = True) -> Ints:
    """A number for each text `(n columns, n rows)`; the same for (near) duplicates."""
    numbers, firsts = _equal_texts(columns)
    return _with_near(columns, numbers, firsts) if has_near else numbers


def _groups_of(texts: Ints) -> Ints:
    """A number for each row `(n,)`; rows that share a number of a text have the same."""
    groups = _Groups(int(texts.max()) + 1)
    for column in texts[1:]:
        groups.join(texts[0], column)
    return groups.numbers()[texts[0]]


def _with_near(columns: Sequence[Sequence[str]], numbers: Ints, firsts: Ints) -> Ints:
    """Numbers of texts that are the same for near duplicates, too."""
    column, row = np.divmod(firsts, numbers.shape[1])
    texts = [t for at, cells in enumerate(columns) for t in cells_at(cells, row[column == at])]
    pairs = np.array([pair[:2] for pair in near_duplicates(texts)], np.int64).reshape(-1, 2)
    groups = _Groups(len(firsts))
    groups.join(pairs[:, 0], pairs[:, 1])
    return groups.numbers()[numbers]


def _equal_texts(columns: Sequence[Sequence[str]]) -> tuple[Ints, Ints]:
    """A number for each text `(n columns, n rows)` in the order in which they come, and the firsts.

    These are the places, counted through the columns, where a text comes first. In memory there are
    only hashes of the texts.
    """
    count = sum(map(len, columns))
    hashes = np.fromiter((_hash(text) for text in chain(*columns)), np.uint64, count)
    _, first, number = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[number].reshape(len(columns), -1), first[order]


def _hash(text: str) -> int:
    plain = normalised(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "little")


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
    texts, firsts = _equal_texts(columns)
    is_many = has_near and len(firsts) > MANY
    if has_near and not is_many:
        texts = _with_near(columns, texts, firsts)
    group = _groups_of(texts)
    part_of, dropped = _dealt(texts, group, labels, list(shares.values()), seed)
    if is_many:
        _drop_near(columns, group, part_of, dropped)
    named = {
        name: np.flatnonzero((part_of == number) & ~dropped)
        for number, name in enumerate((TRAIN, *shares))
    }
    empty = [name for name, rows in named.items() if not len(rows)]
    if empty:
        raise SettingError(
            f"too few rows to hold some out, {', '.join(empty)} would be empty: {len(group)} rows, "
            f"of which {len(np.unique(group))} share no text with another; give more rows, or the "
            "held-out rows in a file of their own"
        )
    return Split(named, np.flatnonzero(dropped), group)


def _dealt(
    texts: Ints, group: Ints, labels: Sequence[Any] | None, wanted: Sequence[float], seed: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """The part of each row, 0 for train, and whether it is dropped, since it links two parts."""
    random = np.random.default_rng(seed)
    count = len(group)
    part_of, dropped = np.zeros(count, np.int64), np.zeros(count, bool)
    is_large = np.bincount(group) > max(1, _LARGEST * count)
    small = np.flatnonzero(~is_large[group])
    _deal(small, group, _strata(labels, count), wanted, part_of, random)
    for number in np.flatnonzero(is_large):
        rows = np.flatnonzero(group == number)
        for part, share in enumerate(wanted, start=1):
            _grow(rows, texts, part, round(share * len(rows)), part_of, dropped, random)
    return part_of, dropped


def _drop_near(
    columns: Sequence[Sequence[str]], group: Ints, part_of: Ints, dropped: NDArray[np.bool_]
) -> None:
    """Drop rows that have a near duplicate of a held-out text; group the held-out rows anew."""
    held = np.flatnonzero((part_of > 0) & ~dropped)
    own = [cells_at(cells, held) for cells in columns]
    again = groups_of(own)
    group[held] = len(group) + again
    _, first = np.unique(again, return_index=True)
    dropped[held] |= part_of[held] != part_of[held[first]][again]
    is_near = np.zeros(len(group), bool)
    texts = list(dict.fromkeys(chain(*own)))
    for cells in columns:
        is_near |= _near(cells, texts)
    dropped |= is_near & (part_of == 0)


def _near(texts: Sequence[str], asked: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts `(n,)` are near duplicates of one of those that are asked for."""
    found = []
    given = iter(texts)
    while portion := list(islice(given, _PORTION)):
        pairs = near_duplicates([*asked, *portion], first=len(asked))
        linked = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2)
        groups = _Groups(len(asked) + len(portion))
        groups.join(linked[:, 0], linked[:, 1])
        number = groups.numbers()
        found.append(np.isin(number[len(asked) :], number[: len(asked)]))
    return np.concatenate(found)


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
    known: set[int] = set()  # texts whose rows have been seen
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
            for other in with_text[text] if text not in known else ():
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
            known.add(text)
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
