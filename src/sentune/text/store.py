"""The tokens of a column of texts, each text read once and kept as plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from sentune.text import layouts
from sentune.types import Features
from sentune.vectors.rows import like, to_numpy

# Tokens that are kept in one piece of memory, 16 MiB; and how many bytes stay in memory before
# further pieces are files that the system may write out.
_PIECE = 1 << 22
_IN_MEMORY = 256 << 20

_KEPT = frozenset({"input_ids", "lengths", "prompt_lengths", "truncated", *layouts.BATCH_KEYS})


class TokenStore:
    """Tokens of numbered texts, four bytes each, flat.

    A text is read when it is first asked for, and again only if there is another one under its
    number.

    Args:
        read: Texts -> ragged features.
        in_memory: Bytes of tokens that stay in memory; what is more goes to a file without a name,
            which the system removes with the process.
    """

    def __init__(
        self, read: Callable[[Sequence[str]], Features], in_memory: int = _IN_MEMORY
    ) -> None:
        self.read = read
        self.in_memory = in_memory
        self._pieces: list[np.ndarray] = []
        self._used = 0  # tokens of the last piece
        self._known: dict[str, np.ndarray] = {}
        self._of_all: Features = {}  # what is the same for every batch, as the route it takes
        self._has_prompt = False
        self._example: Any = None  # of the arrays that `read` gives

    def take(self, numbers: Sequence[int], texts: Sequence[Any]) -> Features:
        """The tokens of the texts, ragged, as `read` gives them.

        Args:
            numbers: The number of each text, from 0.
            texts: The texts; where one is no string, nothing is kept of the batch.
        """
        if not numbers or not set(map(type, texts)) <= {str}:
            return self.read(texts)
        self._make_room(max(numbers) + 1)
        marks = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
        rows = np.asarray(numbers)
        is_new = (self._known["piece"][rows] < 0) | (self._known["mark"][rows] != marks)
        if is_new.any():
            fresh = np.flatnonzero(is_new).tolist()
            features = self.read([texts[place] for place in fresh])
            if not features.keys() <= _KEPT or not layouts.is_ragged(features):
                return features if len(fresh) == len(texts) else self.read(texts)
            self._keep(rows[fresh], marks[fresh], features)
        return self._kept(rows)

    def _keep(self, rows: np.ndarray, marks: np.ndarray, features: Features) -> None:
        """Put ragged features away under the numbers of their rows."""
        known, ids, start = self._known, to_numpy(features["input_ids"]), 0
        self._of_all = {key: features[key] for key in layouts.BATCH_KEYS if key in features}
        self._has_prompt = "prompt_lengths" in features
        self._example = features["input_ids"][:0]
        for place, (row, size) in enumerate(zip(rows, features["lengths"], strict=True)):
            piece, offset = self._room_for(size)
            self._pieces[piece][offset : offset + size] = ids[start : start + size]
            start += size
            known["piece"][row], known["offset"][row], known["size"][row] = piece, offset, size
            if self._has_prompt:
                known["prompt"][row] = features["prompt_lengths"][place]
        known["mark"][rows] = marks

    def _kept(self, rows: np.ndarray) -> Features:
        """The features of rows that are all there."""
        pieces, offsets, sizes = (
            self._known[name][rows].tolist() for name in ("piece", "offset", "size")
        )
        parts = [
            self._pieces[piece][offset : offset + size]
            for piece, offset, size in zip(pieces, offsets, sizes, strict=True)
        ]
        ids = like(np.concatenate(parts).astype(np.int64), self._example)
        prompts = self._known["prompt"][rows].tolist() if self._has_prompt else None
        return {**self._of_all, **layouts.ragged(ids, sizes, prompt_lengths=prompts)}

    def _room_for(self, size: int) -> tuple[int, int]:
        """A piece with room for so many tokens, and where in it."""
        if not self._pieces or self._used + size > len(self._pieces[-1]):
            self._pieces.append(self._new_piece(max(size, _PIECE)))
            self._used = 0
        offset = self._used
        self._used += size
        return len(self._pieces) - 1, offset

    def _new_piece(self, tokens: int) -> np.ndarray:
        if sum(piece.nbytes for piece in self._pieces) + 4 * tokens <= self.in_memory:
            return np.empty(tokens, dtype=np.int32)
        with TemporaryFile() as file:  # the mapping keeps it after it is closed
            return np.memmap(file, dtype=np.int32, mode="w+", shape=(tokens,))

    def _make_room(self, rows: int) -> None:
        """Have an entry for each of so many rows; those not known have no piece."""
        had = len(self._known["mark"]) if self._known else 0
        if rows <= had:
            return
        size = max(rows, 2 * had, 1024)
        types = {"piece": "i4", "offset": "i4", "size": "i4", "prompt": "i4", "mark": "i8"}
        for name, kind in types.items():
            grown = np.full(size, -1, dtype=kind)
            if had:
                grown[:had] = self._known[name]
            self._known[name] = grown
