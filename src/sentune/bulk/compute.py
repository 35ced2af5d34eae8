"""Texts -> rows of a shard: a model with its settings, on one device or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sentune.encoder.runner import Options, TorchRunner
from sentune.encoder.workers import WorkerPool
from sentune.errors import ModelFileError, SettingError, WorkersDiedError
from sentune.flow import loop
from sentune.flow.sinks import Whole
from sentune.vectors import rows as arrays
from sentune.vectors.quantize import quantize_embeddings

PRECISIONS = ("float32", "float16", "int8", "uint8", "binary", "ubinary")
# Errors that can be about one text. Others are about the machine or the model.
_OF_A_TEXT = (ValueError, TypeError, KeyError, IndexError, AttributeError)
# So many texts that fail one after the other, and none that does not, are not the texts' fault.
_MOST_FAILURES = 32

_PROBE = "text"

Count = Callable[[int], object]


class Encoder:
    """A model as one job uses it.

    Args:
        model: A `SentenceTransformer`.
        options: Of the job.
        precision: Of the embeddings in the output.
        ranges: Of int8 and uint8: smallest and largest value of each dimension, `(2, d)`.
        devices: Where to compute; several start a process each.
    """

    def __init__(
        self,
        model: Any,
        options: Options,
        precision: str = "float32",
        ranges: np.ndarray | None = None,
        devices: Sequence[str] = (),
    ) -> None:
        self.model, self.options = model, options
        self.precision, self.ranges = precision, ranges
        self._devices = list(devices)
        self._pool: WorkerPool | None = None
        self._has_succeeded = False

    def __enter__(self) -> Encoder:
        """Itself, with its processes started."""
        if len(self._devices) > 1:
            self._pool = self.model.start_multi_process_pool(self._devices)
        elif self._devices:
            self.model.to(self._devices[0])
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    def rows(
        self, texts: Sequence[str], count: Count = lambda items: None
    ) -> tuple[np.ndarray, dict[int, str]]:
        """The rows of texts, and the numbers of those that have none with the reasons.

        Args:
            texts: At least one.
            count: Called with the number of texts of each batch that is done.

        Returns:
            `(b, d)` in the precision of the output, without the rows that failed; and these.

        Raises:
            ModelFileError: If the model gives no finite numbers at all.
        """
        failed: dict[int, str] = {}
        parts = self._parts(texts, 0, failed, count)
        found = np.concatenate(parts or [np.zeros((0, 1), np.float32)])
        good = [number for number in range(len(texts)) if number not in failed]
        is_finite = np.isfinite(found).all(axis=1)
        # A few texts may be the fault of the texts; a model that fails at any text is not.
        if good and not is_finite.any() and not np.isfinite(self.floats([_PROBE])).all():
            raise ModelFileError(
                "all embeddings are NaN or infinite; use dtype='float32', load an earlier "
                "checkpoint, or download the model again"
            )
        if not is_finite.all():
            bad = np.flatnonzero(~is_finite).tolist()
            failed |= dict.fromkeys([good[place] for place in bad], "its embedding is not finite")
            found = found[is_finite]
        return self.quantized(found), failed

    def quantized(self, found: np.ndarray) -> np.ndarray:
        """Embeddings in the precision of the output."""
        if self.precision == "float16":
            return found.astype(np.float16)
        if self.precision == "float32" or not len(found):
            return found
        rows: np.ndarray = quantize_embeddings(found, self.precision, self.ranges)  # type: ignore[arg-type]
        return rows

    def floats(self, texts: Sequence[str], count: Count = lambda items: None) -> np.ndarray:
        """The embeddings of texts in float32, `(b, d)`; an error if one of them fails."""
        own, places = loop.distinct(texts)
        size = self.options.batch_size
        if self._pool is not None:
            found = self._pool.encode(own, self.options, None, count)
        else:
            runner = TorchRunner(self.model, self.options)
            found = loop.run(own, runner, Whole(len(own)), batch_size=size, count=count)
        if places is not None:
            count(len(texts) - len(own))
            found = arrays.take(found, places)
        return np.asarray(found.float().numpy(), dtype=np.float32)

    def _parts(
        self, texts: Sequence[str], first: int, failed: dict[int, str], count: Count
    ) -> list[np.ndarray]:
        """The embeddings in parts; where texts fail, of ever smaller parts."""
        try:
            found = [self.floats(texts, count)]
            self._has_succeeded = True
            return found
        except (SettingError, ModelFileError, WorkersDiedError):
            raise
        except _OF_A_TEXT as error:
            if len(texts) == 1:
                failed[first] = str(error) or type(error).__name__
                if not self._has_succeeded and len(failed) >= _MOST_FAILURES:
                    raise
                return []
        half = len(texts) // 2
        left = self._parts(texts[:half], first, failed, count)
        return left + self._parts(texts[half:], first + half, failed, count)
