"""Rows to train on, to choose by, and to test with, without a text in two of them.

Rows that share a text, or have texts that are near duplicates, are one group; groups stay whole.
Where so many rows hang together that they cannot, a part is grown from neighbour to neighbour, and
the rows that link it with the training rows are dropped. As samples, the rows of such a part are
then blocks of neighbours (the block bootstrap: Kuensch 1989,
https://doi.org/10.1214/aos/1176347265).

To compare all texts of a large dataset takes much longer than to compare the few held-out ones
with the others. So of many texts only the equal ones are grouped beforehand, and the training rows
with a near duplicate of a held-out text are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
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
_BLOCK = 10  # neighbours that are one sample
_LARGEST = 0.2  # share of the rows: a larger group cannot stay whole
MANY = 100_000  # different texts, which are compared with each other in 10 s or so
_NO_PAIRS = np.empty((0, 2), np.int64)
_PORTION = 200_000  # texts compared with the held-out ones at a time


@dataclass(frozen=True)
class Split:
    """Row numbers of each part, in order; `dropped` are in none, since they link two parts.

    Attributes:
        parts: Part -> rows.
        dropped: Rows.
        groups: `(n,)`, of all rows. Held-out rows with the same number are drawn together: they
            share a text, or they are neighbours in a large group.
    """

    parts: Mapping[str, Ints]
    dropped: Ints
    groups: Ints

    def __getitem__(self, part: str) -> Ints:
        """The rows of a part."""
        return self.parts[part]


def groups_of(columns: Sequence[Sequence[str]], *, has_near: bool = True) -> Ints:
    """A number for each row `(n,)`; rows that share a text or a near duplicate have the same.

    Args:
        columns: The texts of the rows, a list for each column.
        has_near: Whether near duplicates count as the same text.
    """
    numbers, firsts = _equal_texts(columns)
    near = _near_pairs(columns, numbers, firsts) if has_near else _NO_PAIRS
    return _groups_of(numbers, near)


def samples_of(columns: Sequence[Sequence[str]]) -> Ints:
    """A number for each held-out row `(n,)`; rows with the same are drawn together.

    These are the groups, and blocks of neighbours in place of a group that is large.
    """
    texts, firsts = _equal_texts(columns)
    near = _near_pairs(columns, texts, firsts)
    found = _groups_of(texts, near)
    like = _both_ways(near)
    for number in _large(found):
        rows = np.flatnonzero(found == number)
        _number_blocks(found, list(_neighbours(rows, texts, like)))
    return found


def text_numbers(columns: Sequence[Sequence[str]], *, has_near: bool = True) -> Ints:
    """A number for each text `(n columns, n rows)`; the same for (near) duplicates."""
    numbers, firsts = _equal_texts(columns)
    if not has_near:
        return numbers
    near = _near_pairs(columns, numbers, firsts)
    groups = _Groups(len(firsts))
    groups.join(near[:, 0], near[:, 1])
    return groups.numbers()[numbers]


def near_any(texts: Sequence[str], asked: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts `(n,)` are one of those that are asked for, or a near duplicate of one."""
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


def _groups_of(texts: Ints, near: Ints) -> Ints:
    """A number for each row `(n,)`; rows that share a text or have two of a pair have the same."""
    groups = _Groups(int(texts.max()) + 1)
    groups.join(near[:, 0], near[:, 1])
    for column in texts[1:]:
        groups.join(texts[0], column)
    return groups.numbers()[texts[0]]


def _near_pairs(columns: Sequence[Sequence[str]], numbers: Ints, firsts: Ints) -> Ints:
    """The numbers of texts that are near duplicates, `(pairs, 2)`."""
    column, row = np.divmod(firsts, numbers.shape[1])
    texts = [t for at, cells in enumerate(columns) for t in cells_at(cells, row[column == at])]
    return np.array([pair[:2] for pair in near_duplicates(texts)], np.int64).reshape(-1, 2)


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
    near = _near_pairs(columns, texts, firsts) if has_near and not is_many else _NO_PAIRS
    group = _groups_of(texts, near)
    apart = len(np.unique(group))
    part_of, dropped = _dealt(texts, near, group, labels, list(shares.values()), seed)
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
            f"of which {apart} share no text with another; give more rows, or the "
            "held-out rows in a file of their own"
        )
    return Split(named, np.flatnonzero(dropped), group)


def _dealt(
    texts: Ints,
    near: Ints,
    group: Ints,
    labels: Sequence[Any] | None,
    wanted: Sequence[float],
    seed: int,
) -> tuple[Ints, NDArray[np.bool_]]:
    """The part of each row, 0 for train, and whether it is dropped, since it links two parts."""
    random = np.random.default_rng(seed)
    count = len(group)
    part_of, dropped = np.zeros(count, np.int64), np.zeros(count, bool)
    large = _large(group)
    small = np.flatnonzero(~np.isin(group, large))
    _deal(small, group, _strata(labels, count), wanted, part_of, random)
    like = _both_ways(near)
    for rows in [np.flatnonzero(group == number) for number in large]:
        for part, share in enumerate(wanted, start=1):
            free = random.permutation(rows[(part_of[rows] == 0) & ~dropped[rows]])
            taken = list(islice(_neighbours(free, texts, like), round(share * len(rows))))
            part_of[taken] = part
            _number_blocks(group, taken)
            links = np.isin(texts[:, free], _texts_like(texts[:, taken], like)).any(axis=0)
            dropped[free[links & (part_of[free] == 0)]] = True
    return part_of, dropped


def _large(group: Ints) -> Ints:
    """The groups that cannot stay whole."""
    return np.flatnonzero(np.bincount(group) > max(1, _LARGEST * len(group)))


def _number_blocks(group: Ints, rows: Sequence[int]) -> None:
    """Give rows, in an order in which they are neighbours, new numbers, a block one."""
    group[list(rows)] = group.max(initial=0) + 1 + np.arange(len(rows)) // _BLOCK


def _neighbours(rows: Ints, texts: Ints, like: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """Rows from neighbour to neighbour, which share a text or have near duplicates."""
    with_text: dict[int, list[int]] = {}
    for row in np.sort(rows).tolist():
        for text in texts[:, row].tolist():
            with_text.setdefault(text, []).append(row)
    seen: set[int] = set()
    for start in rows.tolist():
        queue = deque([] if start in seen else [start])
        seen.add(start)
        while queue:
            row = queue.popleft()
            yield row
            for text in _texts_like(texts[:, row], like):
                # Each text leads to its rows once.
                found = dict.fromkeys(with_text.pop(text, ()))
                new = [other for other in found if other not in seen]
                seen.update(new)
                queue.extend(new)


def _texts_like(texts: Ints, like: Mapping[int, Sequence[int]]) -> list[int]:
    """Some texts and their near duplicates, each once."""
    own = texts.reshape(-1).tolist()
    return list(dict.fromkeys(near for text in own for near in (text, *like.get(text, ()))))


def _both_ways(near: Ints) -> dict[int, list[int]]:
    """Each text that has near duplicates, with these."""
    found: dict[int, list[int]] = {}
    for one, other in near.tolist():
        found.setdefault(one, []).append(other)
        found.setdefault(other, []).append(one)
    return found


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
        is_near |= near_any(cells, texts)
    dropped |= is_near & (part_of == 0)


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
