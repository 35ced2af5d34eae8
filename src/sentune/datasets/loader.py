"""A loader whose batches hold no text twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import BatchSampler, DataLoader

from sentune.data.example import InputExample
from sentune.errors import DatasetError
from sentune.training.samplers import NoDuplicatesBatchSampler


class NoDuplicatesDataLoader(DataLoader):
    """Full batches of examples, in a new random order each time, with no text twice in a batch.

    Texts that differ only in case or in white space around them count as the same. All examples
    must have as many texts (else a DatasetError); the list given stays as it is.
    """

    def __init__(self, train_examples: Sequence[InputExample], batch_size: int) -> None:
        rows = [
            {place: str(text).strip().lower() for place, text in enumerate(example.texts or ())}
            for example in train_examples
        ]
        if len(set(map(len, rows))) > 1:
            raise DatasetError(
                f"examples must have as many texts each, got {sorted(set(map(len, rows)))}"
            )
        super().__init__(
            train_examples,  # type: ignore[arg-type]
            batch_sampler=_Drawn(NoDuplicatesBatchSampler(rows, batch_size, drop_last=True)),
            collate_fn=list,
        )

    @property
    def train_examples(self) -> Sequence[InputExample]:
        """The examples."""
        return self.dataset  # type: ignore[return-value]


class _Drawn(BatchSampler):
    """A sampler whose order is drawn from torch's own random numbers at the start of each pass."""

    def __init__(self, sampler: NoDuplicatesBatchSampler) -> None:
        self.batches = sampler
        self.batch_size = sampler.batch_size
        self.drop_last = True

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        self.batches.seed = int(torch.randint(2**31, ()))
        return iter(self.batches)
