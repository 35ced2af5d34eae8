"""Lists of examples as datasets."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from sentune.data.example import InputExample
from sentune.errors import DatasetError


class SentencesDataset(Dataset):
    """A list of examples, without regard to the model; a plain list does as well."""

    def __init__(self, examples: list[InputExample], model: Any = None) -> None:
        self.examples = examples

    def __getitem__(self, item: int) -> InputExample:
        return self.examples[item]

    def __len__(self) -> int:
        return len(self.examples)


class SentenceLabelDataset(IterableDataset):
    """Examples of a class in groups, for losses that find triplets in a batch.

    The classes take turns in random order, with `samples_per_label` examples each. A batch size
    that is a multiple of it keeps groups whole.

    Args:
        examples: Classes with fewer than `samples_per_label` are left out; a DatasetError if all.
        samples_per_label: Examples of a class that come together.
        with_replacement: Whether every group is drawn from all examples of its class; else each
            example comes once, until a class has fewer than `samples_per_label` left.
    """

    def __init__(
        self,
        examples: Sequence[InputExample],
        samples_per_label: int = 2,
        with_replacement: bool = False,
    ) -> None:
        members: dict[Hashable, list[InputExample]] = defaultdict(list)
        for example in examples:
            members[example.label].append(example)  # type: ignore[index]
        self.samples_per_label = samples_per_label
        self.with_replacement = with_replacement
        self.classes = [rows for rows in members.values() if len(rows) >= samples_per_label]
        if not self.classes:
            raise DatasetError(
                f"none of the {len(members)} classes has {samples_per_label} examples; "
                "samples_per_label must be smaller, or labels are missing"
            )

    def __len__(self) -> int:
        if self.with_replacement:
            return sum(map(len, self.classes))
        n = self.samples_per_label
        return sum(len(rows) // n * n for rows in self.classes)

    def __iter__(self) -> Iterator[InputExample]:
        n = self.samples_per_label
        left = [random.sample(rows, len(rows)) for rows in self.classes]
        given = 0
        while given < len(self):
            for place in random.sample(range(len(left)), len(left)):
                if self.with_replacement:
                    group = random.sample(self.classes[place], n)
                else:
                    group, left[place] = left[place][:n], left[place][n:]
                group = group[: len(self) - given] if len(group) == n else []
                given += len(group)
                yield from group
