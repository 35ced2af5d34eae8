"""What a run keeps an eye on: losses that are no number, and the means of a loss's parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sentune.errors import TrainingError
from sentune.training.dataset_rows import DATASET_NAME, where

# On a GPU each look at a loss waits for it, so losses are looked at in bulk.
_BULK = 50


class LossWatch:
    """Stops a run whose loss is NaN, naming the rows of the batch; looks at `bulk` at a time."""

    def __init__(self, bulk: int | None = None) -> None:
        self.bulk = bulk
        self._waiting: list[tuple[Tensor, Mapping[str, Any], int]] = []

    def see(self, loss: Tensor, batch: Mapping[str, Any], step: int) -> None:
        """Take note of a loss."""
        marks = {"rows": batch.get("rows"), DATASET_NAME: batch.get(DATASET_NAME)}
        self._waiting.append((loss.detach(), marks, step))
        if len(self._waiting) >= (self.bulk or (1 if loss.device.type == "cpu" else _BULK)):
            self.check()

    def check(self) -> None:
        """Look at the losses that have come."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        is_bad = torch.stack([loss for loss, _, _ in waiting]).isnan().tolist()
        if True not in is_bad:
            return
        _, marks, step = waiting[is_bad.index(True)]
        rows = [] if marks["rows"] is None else marks["rows"].tolist()
        raise TrainingError(
            f"the loss became NaN in step {step + 1}, on a batch of "
            f"{where(rows, marks[DATASET_NAME], most=len(rows))}. Look at these rows and their "
            "labels first; a lower learning_rate or a warm-up helps where training ran away"
        )


class PartMeans:
    """Means of the named parts of a loss between two looks at them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, parts: Mapping[str, Tensor]) -> None:
        """Take note of the parts of a batch."""
        for name, part in parts.items():
            self._sums[name] = self._sums[name] + part if name in self._sums else part
            self._counts[name] += 1

    def take(self, gather: Callable[[Any], list[Any]]) -> dict[str, float]:
        """The means over all processes; then begin anew."""
        own = {name: (float(total), self._counts[name]) for name, total in self._sums.items()}
        self.__init__()  # type: ignore[misc]
        everywhere: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for found in gather([own]):
            for name, entry in found.items():
                everywhere[name].append(entry)
        return {
            name: sum(total for total, _ in entries) / sum(count for _, count in entries)
            for name, entries in everywhere.items()
        }
