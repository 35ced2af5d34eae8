"""The DataLoaders of `fit`, as datasets and batch samplers of the trainer.

A loader says which examples come together; the trainer does the rest. Nothing of the loader is
changed, and its `collate_fn` is not used.
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from sentune.data.example import is_example
from sentune.errors import DatasetError, SettingError
from sentune.machine.distributed import world_size
from sentune.machine.randomness import seeded
from sentune.training.dataset_rows import Row, has_labels, rows_of_examples

_NO_BATCH = (
    "a DataLoader gives no batch: it has no rows, or too few (different) ones for a full "
    "batch and drop_last=True; take a smaller batch_size"
)
# Rows of a loader that does not say how many it has.
_MANY = 10**9


class LoaderRows(Dataset):
    """The examples that a loader gives, as rows."""

    column_names: Sequence[str] = ("sentence_0", "label")

    def __init__(self, loader: Any) -> None:
        is_rows = isinstance(loader, (list, tuple)) and any(map(is_example, loader))
        if not hasattr(loader, "__iter__") or hasattr(loader, "column_names") or is_rows:
            raise SettingError(
                "train_objectives must be pairs of a DataLoader and a loss, got a "
                f"{type(loader).__name__} in place of the DataLoader; make it with "
                "DataLoader(examples, shuffle=True, batch_size=16)"
            )
        self.loader = loader
        self.examples = getattr(loader, "dataset", None)
        if isinstance(loader, DataLoader) and loader.batch_size is None:
            _check_whole(loader)
        # A loader that draws numbers of rows; of any other, the examples themselves are taken.
        self.is_indexed = (
            isinstance(loader, DataLoader)
            and loader.batch_sampler is not None
            and not isinstance(loader.dataset, IterableDataset)
        )
        self.with_label = not isinstance(self.examples, (list, tuple)) or has_labels(self.examples)
        # Batches that a stream gave, newest first: accelerate reads one for each process before
        # any of them is used.
        self._last_read: deque[dict[int, Any]] = deque(maxlen=world_size())

    @property
    def is_stream(self) -> bool:
        """Whether it is not known how many there are, and a number is not always the same one's."""
        return len(self) == _MANY

    def __len__(self) -> int:
        if self.is_indexed:
            return len(self.examples)  # type: ignore[arg-type]
        try:
            return len(self.loader) * self.loader.batch_size
        except (TypeError, AttributeError):
            return _MANY

    def __getitem__(self, number: int) -> Row:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Row]:
        """Several rows at once, as a `DataLoader` asks for them."""
        source = self.examples if self.is_indexed else ChainMap(*self._last_read)
        examples = [source[number] for number in numbers]  # type: ignore[index]
        return rows_of_examples(examples, numbers, with_label=self.with_label)

    def batches(self) -> Iterator[list[int]]:
        """Numbers of the rows of each batch, for one pass over the loader."""
        if self.is_indexed:
            yield from self.loader.batch_sampler
            return
        numbers = count()
        for batch in _raw(self.loader):
            taken = {number % len(self): one for number, one in zip(numbers, batch, strict=False)}
            self._last_read.appendleft(taken)
            yield list(taken)


class LoaderBatches(BatchSampler):
    """As many batches of a loader as an epoch takes.

    The loader goes on in an epoch where it was at the end of the one before, and begins again
    when it has no more. Where it draws numbers of rows, each pass is drawn from `seed + pass`, so
    that a run which was stopped goes on with the same batches.
    """

    def __init__(self, rows: LoaderRows, steps: int, seed: int) -> None:
        # Batches may be of any size: without one, accelerate does not compare.
        self.batch_size = None  # type: ignore[assignment]
        self.drop_last = True
        self.rows = rows
        self.steps = steps
        self.seed = seed
        self.epoch = 0
        self._drawn: list[list[int]] = []
        self._passes = 0
        self._stream: Iterator[list[int]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        if self.rows.is_indexed:
            yield from islice(self._from(self.epoch * self.steps), self.steps)
        else:
            if self._stream is None:
                self._stream = islice(self._endless(), self.epoch * self.steps, None)
            yield from islice(self._stream, self.steps)

    def _endless(self) -> Iterator[list[int]]:
        """The batches of one pass after the other, where a loader draws them as they come."""
        for number in count():
            batches = self.rows.batches()
            with seeded(self.seed + number):  # most loaders shuffle before their first batch
                first = next(batches, None)
            if first is None:
                raise DatasetError(_NO_BATCH)
            yield first
            yield from batches

    def _from(self, position: int) -> Iterator[list[int]]:
        """The batches from a position on, counted over all passes."""
        length = len(self._pass(0)) if self._passes == 0 else len(self._drawn)
        number, skipped = divmod(position, length)
        for place in count(number):
            yield from self._pass(place)[skipped:]
            skipped = 0

    def _pass(self, number: int) -> list[list[int]]:
        """The batches of a pass; those before it are drawn too, for a generator of the user's."""
        while self._passes <= number:
            with seeded(self.seed + self._passes):
                self._drawn = list(self.rows.batches())
            if not self._drawn:
                raise DatasetError(_NO_BATCH)
            self._passes += 1
        return self._drawn


def steps_of(loaders: Sequence[Any]) -> int:
    """Batches of the loader that has the fewest."""
    try:
        fewest = min(len(loader) for loader in loaders)
    except TypeError as error:
        raise SettingError(
            "a DataLoader does not say how many batches it has; set steps_per_epoch"
        ) from error
    if not fewest:
        raise DatasetError(_NO_BATCH)
    return fewest


def _raw(loader: Any) -> Iterator[Sequence[Any]]:
    """The batches of a loader as lists of examples."""
    if not isinstance(loader, DataLoader):
        return iter(loader)
    if loader.batch_size is None:  # its dataset gives whole batches
        is_stream = isinstance(loader.dataset, IterableDataset)
        sampler = None if is_stream else loader.sampler
        return map(_whole, DataLoader(loader.dataset, None, sampler=sampler, collate_fn=_as_it_is))
    size, drop_last = loader.batch_size, loader.drop_last
    return iter(DataLoader(loader.dataset, size, drop_last=drop_last, collate_fn=list))


def _as_it_is(batch: Any) -> Any:
    return batch


def _check_whole(loader: DataLoader) -> None:
    """Raise if a loader without batches has a list of single examples."""
    rows = loader.dataset
    if loader.batch_sampler is None and isinstance(rows, (list, tuple)):
        for row in rows[:1]:
            _whole(row)


def _whole(batch: Any) -> Sequence[Any]:
    """A batch that a dataset gives; a SettingError if it is a single example."""
    if isinstance(batch, (list, tuple)):
        return batch
    raise SettingError(
        "a DataLoader with batch_size=None passes on what its dataset gives, one "
        f"{type(batch).__name__} each; set batch_size, as DataLoader(examples, batch_size=16)"
    )
