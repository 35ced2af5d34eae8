"""Batch samplers: which rows come together in a batch, and which dataset is next.

Every sampler draws from `seed + epoch`, so that the batches of an epoch are the same whenever it
is run, also after a stop. A sampler gives as many batches as its `len` says, in every epoch.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain, islice
from typing import Any

import torch
from torch.utils.data import BatchSampler

from sentune.checks import check_sizes
from sentune.errors import DatasetError, SettingError
from sentune.training.dataset_rows import LABEL_COLUMNS, column_names, column_of
from sentune.training.row_values import Hashing, numbered_values

logger = logging.getLogger(__name__)

# A value that is in too many rows keeps batches from filling; so often the rows are drawn anew.
_PASSES = 3
# Rows of a class that come together.
_GROUP = 2


class SetEpochMixin:
    """For samplers of a user's own: keeps the number of the epoch, which the trainer says."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next."""
        self.epoch = epoch


class DefaultBatchSampler(SetEpochMixin, BatchSampler):
    """Rows in random order, cut into batches. Subclass it for a sampler of your own.

    Args:
        dataset: The rows.
        batch_size: Rows in a batch.
        drop_last: Whether a batch with fewer rows is left out.
        valid_label_columns: Names that a label column may have.
        generator: Draws the order; seeded with `seed + epoch` at the start of each epoch.
        seed: Where the order begins.
        shuffle: Whether the order is random.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool = False,
        valid_label_columns: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last)
        self.dataset = dataset
        self.valid_label_columns = list(valid_label_columns or LABEL_COLUMNS)
        self.generator = torch.Generator() if generator is None else generator
        self.seed = seed
        self.shuffle = shuffle

    def __len__(self) -> int:
        rows = len(self.dataset)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        self._reseed()
        order = self._order(len(self.dataset))
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield order[start : start + self.batch_size]

    def _reseed(self) -> None:
        self.generator.manual_seed(self.seed + self.epoch)

    def _order(self, n: int, generator: torch.Generator | None = None) -> list[int]:
        if not self.shuffle:
            return list(range(n))
        return torch.randperm(n, generator=generator or self.generator).tolist()


class NoDuplicatesBatchSampler(DefaultBatchSampler):
    """As `DefaultBatchSampler`, with no value twice in a batch, whatever column it stands in.

    For losses that take the other rows of a batch as negatives: a repeated text would be a false
    one. Within a row a value may repeat. A row whose values are in a batch already goes to the
    next one. Where values repeat so often that the rows cannot fill the batches, without
    `drop_last` the smallest batches are left out, and with it full batches are made of up to two
    more draws of the rows. How many batches these give in the first epoch is the length, and every
    other epoch has as many.

    Args:
        batch_size, drop_last, valid_label_columns, generator, seed, shuffle: As in
            `DefaultBatchSampler`.
        dataset: The rows; every column but the labels counts.
        precompute_hashes: Whether to compare hashes of 128 bits in place of the values, which
            takes less memory for long texts and can use several processes.
        precompute_num_proc: Processes that hash a `datasets.Dataset`; None for this one.
        precompute_batch_size: Rows that are hashed at a time.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool = False,
        valid_label_columns: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        precompute_hashes: bool = False,
        precompute_num_proc: int | None = None,
        precompute_batch_size: int = 1000,
        shuffle: bool = True,
    ) -> None:
        options = (valid_label_columns, generator, seed, shuffle)
        super().__init__(dataset, batch_size, drop_last, *options)
        check_sizes(precompute_batch_size=precompute_batch_size)
        self.precompute_hashes = precompute_hashes
        self.precompute_num_proc = precompute_num_proc
        self.precompute_batch_size = precompute_batch_size
        self._first_seed = self.seed
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = super().__len__()
            if self.drop_last and self._has_repeats:
                self._length = len(self._first())
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        self._reseed()
        wanted = len(self)
        if self.drop_last:
            batches = self._full(wanted, self.generator)
            if len(batches) < wanted:  # an unlucky draw
                batches += self._first()[len(batches) :]
        else:
            batches = self._fill(self.generator)
            batches.sort(key=len, reverse=True)  # stable: full ones stay in the order of the draw
        self._tell_what_is_left_out(batches[:wanted])
        yield from batches[:wanted]

    @cached_property
    def _values(self) -> list[tuple[int, ...]]:
        """Per row, a number for each of its values."""
        is_hashed, size = self.precompute_hashes, self.precompute_batch_size
        hashing = Hashing(size, self.precompute_num_proc) if is_hashed else None
        return numbered_values(self.dataset, self.valid_label_columns, hashing)

    @property
    def _has_repeats(self) -> bool:
        """Whether several rows have the same value."""
        numbers = list(chain.from_iterable(self._values))
        return len(set(numbers)) < len(numbers)

    def _first(self) -> list[list[int]]:
        """The full batches of the first epoch, which are so many as the length says."""
        generator = torch.Generator().manual_seed(self._first_seed)
        return self._full(super().__len__(), generator)

    def _full(self, wanted: int, generator: torch.Generator) -> list[list[int]]:
        """So many full batches, or as many as a few draws of the rows give."""
        batches: list[list[int]] = []
        for _ in range(_PASSES):
            batches += [one for one in self._fill(generator) if len(one) == self.batch_size]
            if len(batches) >= wanted:
                break
        return batches[:wanted]

    def _fill(self, generator: torch.Generator) -> list[list[int]]:
        """Every row in the first batch that has room and none of its values."""
        values = self._values
        batches: list[list[int]] = []
        taken: list[set[int]] = []  # the values in each batch
        room = [0]  # room[k]: k if batch k has room, else a later one; and one for the next batch
        start: dict[int, int] = defaultdict(int)  # batches before this with room have the value
        for row in self._order(len(values), generator):
            k = _follow(room, max((start[value] for value in values[row]), default=0))
            while k < len(batches) and (there := taken[k].intersection(values[row])):
                for value in there:
                    if _follow(room, start[value]) == k:
                        start[value] = k + 1
                k = _follow(room, k + 1)
            if k == len(batches):
                batches.append([])
                taken.append(set())
                room.append(k + 1)
            batches[k].append(row)
            taken[k].update(values[row])
            if len(batches[k]) == self.batch_size:
                room[k] = k + 1
                taken[k].clear()
        return batches

    def _tell_what_is_left_out(self, batches: Sequence[list[int]]) -> None:
        rows = len(self.dataset)
        missing = rows - len(set(chain.from_iterable(batches)))
        if self.epoch == 0 and missing > max(self.batch_size, rows // 10):
            logger.warning(
                "no_duplicates: %d of %d rows are left out of this epoch: the same texts are in so "
                "many rows that batches of %d cannot be filled; smaller batches use more rows",
                missing,
                rows,
                self.batch_size,
            )


class GroupByLabelBatchSampler(DefaultBatchSampler):
    """Batches of pairs of rows of the same class, with at least two classes in each.

    For losses that find triplets in a batch. The classes take turns, in a new random order each
    round, with two rows of a class at a time, until only one class has rows left.

    Args:
        drop_last, valid_label_columns, generator, seed, shuffle: As in `DefaultBatchSampler`.
        dataset: The rows, with a label column.
        batch_size: Rows in a batch, an even number from 4 on.

    Raises:
        SettingError: If the batch size does not fit.
        DatasetError: If there is no label column or fewer than two classes with two rows.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool = False,
        valid_label_columns: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        options = (valid_label_columns, generator, seed, shuffle)
        super().__init__(dataset, batch_size, drop_last, *options)
        if self.batch_size < 2 * _GROUP or self.batch_size % _GROUP:
            raise SettingError(
                f"group_by_label needs an even batch size of at least {2 * _GROUP}, "
                f"got {self.batch_size}"
            )
        members: dict[Hashable, list[int]] = defaultdict(list)
        for row, label in enumerate(self._labels()):
            members[label].append(row)
        self._classes = [rows for rows in members.values() if len(rows) >= _GROUP]
        if len(self._classes) < 2:
            raise DatasetError(
                f"group_by_label needs at least 2 classes with {_GROUP} rows or more; of the "
                f"{len(members)} classes here, {len(self._classes)} have that many"
            )

    def __len__(self) -> int:
        groups = sorted((len(rows) // _GROUP for rows in self._classes), reverse=True)
        # The largest class stops with the second largest.
        rows = _GROUP * sum(min(n, groups[1]) for n in groups)
        full, rest = divmod(rows, self.batch_size)
        return full + (not self.drop_last and rest >= 2 * _GROUP)

    def __iter__(self) -> Iterator[list[int]]:
        self._reseed()
        stream = chain.from_iterable(self._groups())
        for _ in range(len(self)):
            yield list(islice(stream, self.batch_size))

    def _groups(self) -> Iterator[list[int]]:
        """Two rows of a class at a time."""
        shuffled = [[rows[i] for i in self._order(len(rows))] for rows in self._classes]
        start, before = 0, -1
        going = [k for k, rows in enumerate(shuffled) if len(rows) >= _GROUP]
        while len(going) > 1:
            turn = [going[i] for i in self._order(len(going))]
            if turn[0] == before:  # a batch of two groups would hold one class
                turn[0], turn[1] = turn[1], turn[0]
            for k in turn:
                yield shuffled[k][start : start + _GROUP]
            start, before = start + _GROUP, turn[-1]
            going = [k for k in going if len(shuffled[k]) >= start + _GROUP]

    def _labels(self) -> list[Any]:
        names = column_names(self.dataset)
        for name in self.valid_label_columns:
            if name in names:
                return column_of(self.dataset, name)
        raise DatasetError(
            f"group_by_label needs a column named one of {self.valid_label_columns}; "
            f"the dataset has {names}"
        )


class MultiDatasetDefaultBatchSampler(BatchSampler, ABC):
    """The batches of several datasets as one sequence; rows are numbered from one to the next.

    Args:
        dataset: All rows; `dataset.datasets` are the single datasets.
        batch_samplers: One per dataset.
        generator: Draws the order; seeded with `seed + epoch` at the start of each epoch.
        seed: Where the order begins.
        in_a_row: How many batches of a dataset come in a row: with w processes, w, so that all of
            them work on the same dataset at a time.
    """

    def __init__(
        self,
        dataset: Any,
        batch_samplers: Sequence[Any],
        generator: torch.Generator | None = None,
        seed: int = 0,
        in_a_row: int = 1,
    ) -> None:
        if len(dataset.datasets) != len(batch_samplers):
            raise SettingError(
                f"there are {len(dataset.datasets)} datasets and {len(batch_samplers)} samplers"
            )
        # torch would refuse batches of no set size.
        self.batch_size = batch_samplers[0].batch_size
        self.drop_last = batch_samplers[0].drop_last
        self.dataset = dataset
        self.batch_samplers = list(batch_samplers)
        self.generator = torch.Generator() if generator is None else generator
        self.seed = seed
        self.in_a_row = in_a_row
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next."""
        self.epoch = epoch
        for sampler in self.batch_samplers:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)

    @abstractmethod
    def __iter__(self) -> Iterator[list[int]]:
        """The batches."""

    @abstractmethod
    def __len__(self) -> int:
        """How many batches there are."""

    def _turns(self) -> list[Iterator[list[list[int]]]]:
        """Per dataset: `in_a_row` batches at a time, rows numbered over all datasets."""
        sizes = [len(dataset) for dataset in self.dataset.datasets]
        starts = accumulate(sizes[:-1], initial=0)
        return [
            self._turns_of(sampler, start)
            for sampler, start in zip(self.batch_samplers, starts, strict=True)
        ]

    def _turns_of(self, sampler: Any, start: int) -> Iterator[list[list[int]]]:
        batches = iter(sampler)
        for _ in range(len(sampler) // self.in_a_row):
            turn = [[start + row for row in b] for b in islice(batches, self.in_a_row)]
            if len(turn) == self.in_a_row:
                yield turn

    def _lengths(self) -> list[int]:
        return [len(sampler) // self.in_a_row for sampler in self.batch_samplers]


class RoundRobinBatchSampler(MultiDatasetDefaultBatchSampler):
    """One batch of each dataset in turn, until the one with the fewest has no more."""

    def __iter__(self) -> Iterator[list[int]]:
        for turns in zip(*self._turns(), strict=False):
            for turn in turns:
                yield from turn

    def __len__(self) -> int:
        return min(self._lengths()) * len(self.batch_samplers) * self.in_a_row


class ProportionalBatchSampler(MultiDatasetDefaultBatchSampler):
    """All batches of all datasets, in random order."""

    def __iter__(self) -> Iterator[list[int]]:
        self.generator.manual_seed(self.seed + self.epoch)
        turns = self._turns()
        numbers = [k for k, n in enumerate(self._lengths()) for _ in range(n)]
        for i in torch.randperm(len(numbers), generator=self.generator).tolist():
            yield from next(turns[numbers[i]], [])

    def __len__(self) -> int:
        return sum(self._lengths()) * self.in_a_row


def _follow(room: list[int], k: int) -> int:
    """The first batch from k on that has room; shortens the way to it."""
    end = k
    while room[end] != end:
        end = room[end]
    while k != end:
        room[k], k = end, room[k]
    return end
