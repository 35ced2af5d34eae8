"""What a model makes of the texts: embeddings of the rows, each text encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentune.data import forms
from sentune.data.forms import Form

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
MOST_ROWS = 50_000  # rows of a larger dataset that are looked at with the model

_ASKING = (forms.PAIR, forms.TRIPLET, forms.NEGATIVES)  # a query and documents


class Meaning:
    """Embeddings of the texts of some rows, `(rows, d)` for each column, of length 1.

    Args:
        model: With `encode`, and for queries and documents `encode_query` and `encode_document`.
        texts: The columns of texts.
        exact: `(rows, n)`: the number of each text, -1 for an empty one.
        usable: The rows that may be looked at, rising.
        form: Of the rows: in some, the first column holds queries and the others documents.
        most: Rows to encode; of more a random sample is taken.
        seed: Of the sample.
    """

    def __init__(
        self,
        model: Any,
        texts: Sequence[Sequence[str]],
        exact: IntArray,
        usable: IntArray,
        form: Form | None,
        most: int = MOST_ROWS,
        seed: int = 0,
    ) -> None:
        self._model, self._texts, self._exact = model, texts, exact
        self._is_asking = form in _ASKING
        self.is_sample = len(usable) > most
        if self.is_sample:
            usable = np.sort(np.random.default_rng(seed).choice(usable, most, replace=False))
        self.rows: IntArray = usable
        self._columns: list[FloatArray] | None = None

    def columns(self) -> list[FloatArray]:
        """The embeddings of `rows`, `(len(rows), d)` for each column."""
        if self._columns is None:
            places = range(self._exact.shape[1])
            if self._is_asking:
                query = [self._encoded(self._model.encode_query, [0])]
                self._columns = query[0] + self._encoded(self._model.encode_document, places[1:])
            else:
                self._columns = self._encoded(self._model.encode, places)
        return self._columns

    def _encoded(self, encode: Callable[..., Any], places: Sequence[int]) -> list[FloatArray]:
        ids = self._exact[self.rows][:, list(places)]
        unique, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        where = np.unravel_index(first, ids.shape)
        texts = [
            self._texts[places[column]][self.rows[row]] for row, column in zip(*where, strict=True)
        ]
        if not texts:
            return [np.zeros((0, 1), np.float32) for _ in places]
        rows = np.asarray(encode(texts, show_progress_bar=False), np.float32)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return list(np.moveaxis(rows[inverse.reshape(ids.shape)], 1, 0))
