"""The tokens of a column of texts, each text read once and kept as plain numbers.

Tokens are appended to pieces, arrays of at most 16 MiB, and a table says for the number of each
text where its tokens are and what the hash of the text was. A budget, which all columns of a run
share, bounds what is kept:

- When a third of the tokens are of texts that have been replaced, the pieces are written again
  without them: texts drawn again in every epoch take the memory of one version each.
- Where the budget does not allow another piece, texts are read each time. Which of them does not
  matter, as an epoch asks for each text once: with memory for half of the texts, half are found.
- A piece none of whose texts was asked for in a whole turn (as many texts as the table has entries)
  is then dropped, so that what comes in a later stage of a training is kept in its turn.
- Where the budget does not allow a longer table, several numbers share an entry.

A text of a stream is read once: a stream should have no store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from sentune.text import layouts
from sentune.types import Features
from sentune.vectors.rows import like, to_numpy

# Tokens of a piece, at least (if the budget lets it) and at most; a longer text has its own.
_SMALL_PIECE, _PIECE = 1 << 14, 1 << 22
_KEPT = frozenset({"input_ids", "lengths", "prompt_lengths", "truncated", *layouts.BATCH_KEYS})
# What the table knows of a text: its hash, where its tokens are (no piece: nowhere), how many they
# are, and how many of these are the prompt.
_ENTRY = np.dtype(
    [("mark", "i8"), ("piece", "i4"), ("offset", "i4"), ("size", "i4"), ("prompt", "i4")]
)


class Budget:
    """Bytes for kept tokens, shared by stores; on disk in files that end with the process."""

    def __init__(self, memory_bytes: int = 256 << 20, disk_bytes: int = 4 << 30) -> None:
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes

    def new(self, size: int, kind: Any) -> np.ndarray | None:
        """An array that counts towards the budget; None if it is too large for what is left."""
        wanted = size * np.dtype(kind).itemsize
        if wanted <= self.memory_bytes:
            self.memory_bytes -= wanted
            return np.empty(size, kind)
        if wanted > self.disk_bytes:
            return None
        try:
            with TemporaryFile() as file:  # the mapping keeps it after it is closed
                if hasattr(os, "posix_fallocate"):  # else a full disk ends the process at a write
                    os.posix_fallocate(file.fileno(), 0, wanted)
                array: np.ndarray = np.memmap(file, kind, mode="w+", shape=(size,))
        except OSError:
            return None
        self.disk_bytes -= wanted
        return array

    def give_back(self, array: np.ndarray) -> None:
        """Count the array no more."""
        if isinstance(array, np.memmap):
            self.disk_bytes += array.nbytes
        else:
            self.memory_bytes += array.nbytes


class TokenStore:
    """Tokens of numbered texts, four bytes each, flat.

    A text is read when it is first asked for, and again if there is another one under its number or
    if it could not be kept. `read` maps texts to ragged features; the budget is for the tokens and
    the table.
    """

    def __init__(
        self, read: Callable[[Sequence[str]], Features], budget: Budget | None = None
    ) -> None:
        self.read = read
        self.budget = Budget() if budget is None else budget
        self._pieces: list[np.ndarray] = []
        self._used = 0  # tokens of the last piece
        self._stale = 0  # of all tokens, those of texts that have been replaced
        self._known = np.empty(0, _ENTRY)
        # Once the budget is used up: texts asked for since, and how many at each piece's last use.
        self._is_full, self._turn, self._asked = False, 0, np.empty(0, np.int64)
        self._of_all: Features = {}  # what is the same for every batch, as the route it takes
        self._has_prompt = False
        self._example: Any = None  # of the arrays that `read` gives

    def take(self, numbers: Sequence[int], texts: Sequence[Any]) -> Features:
        """The tokens of the texts with these numbers, ragged; kept if all are strings."""
        if not numbers or not set(map(type, texts)) <= {str}:
            return self.read(texts)
        if max(numbers) >= len(self._known) and not self._lengthen(max(numbers) + 1):
            return self.read(texts)
        marks = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
        entries = self._known.take(numbers, mode="wrap")
        is_new = (entries["piece"] < 0) | (entries["mark"] != marks)
        if self._is_full:
            self._turn += len(texts)
            self._asked[entries["piece"][~is_new]] = self._turn
        if not is_new.any():
            return self._features(entries, self._pieces)
        fresh = np.flatnonzero(is_new)
        features = self.read([texts[place] for place in fresh.tolist()])
        if not features.keys() <= _KEPT or not layouts.is_ragged(features):
            return features if len(fresh) == len(texts) else self.read(texts)
        tokens, read = self._read(features, marks[fresh])
        entries[fresh] = read
        found = self._features(entries, [*self._pieces, tokens])
        rows = np.asarray(numbers)[fresh] % len(self._known)
        self._forget(rows)
        self._keep(rows, read, tokens)
        return found

    def _read(self, features: Features, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of texts just read, and their entries, in a piece after all that there are."""
        self._of_all = layouts.of_batch(features)
        self._has_prompt = "prompt_lengths" in features
        self._example = features["input_ids"][:0]
        entries = np.zeros(len(marks), _ENTRY)
        entries["mark"], entries["piece"] = marks, len(self._pieces)
        entries["size"] = features["lengths"]
        entries["offset"] = entries["size"].cumsum() - entries["size"]
        entries["prompt"] = features.get("prompt_lengths", 0)
        return to_numpy(features["input_ids"]), entries

    def _features(self, entries: np.ndarray, pieces: Sequence[np.ndarray]) -> Features:
        """The features of texts whose tokens are in these pieces."""
        sizes = entries["size"].tolist()
        ids = like(_tokens(entries, sizes, pieces).astype(np.int64), self._example)
        prompts = entries["prompt"].tolist() if self._has_prompt else None
        return {**self._of_all, **layouts.ragged(ids, sizes, prompt_lengths=prompts)}

    def _keep(self, rows: np.ndarray, entries: np.ndarray, tokens: np.ndarray) -> None:
        """Put tokens away under the numbers of their rows, as far as the budget allows."""
        ends, first = entries["size"].cumsum(), 0
        while first < len(rows) and self._make_room(int(entries["size"][first])):
            start, used = int(ends[first] - entries["size"][first]), self._used
            stop = int(ends.searchsorted(start + len(self._pieces[-1]) - used, side="right"))
            self._used += int(ends[stop - 1]) - start
            self._pieces[-1][used : self._used] = tokens[start : int(ends[stop - 1])]
            kept = entries[first:stop].copy()
            kept["piece"] = len(self._pieces) - 1
            kept["offset"] = ends[first:stop] - kept["size"] + (used - start)
            self._known.put(rows[first:stop], kept)
            # Of a number that came twice, the last one counts.
            is_lost = self._known.take(rows[first:stop])["offset"] != kept["offset"]
            self._stale += int(kept["size"][is_lost].sum())
            first = stop

    def _forget(self, rows: np.ndarray) -> None:
        """Count the tokens of rows as stale, and write the others again if these are too many."""
        known = self._known.take(rows)
        self._stale += int(known["size"][known["piece"] >= 0].sum())
        self._known["piece"][rows] = -1
        if 3 * self._stale <= sum(map(len, self._pieces[:-1])) + self._used:
            return
        self._stale = 0
        for _ in range(len(self._pieces)):
            if self._pieces:  # the oldest, as what is written again comes last
                others = np.flatnonzero(self._known["piece"] == 0)
                entries = self._known.take(others)
                tokens = _tokens(entries, entries["size"].tolist(), self._pieces)
                self._drop(0)
                self._keep(others, entries, tokens)

    def _make_room(self, size: int) -> bool:
        """Whether the last piece can take so many tokens; if need be there is a new one."""
        if self._pieces and self._used + size <= len(self._pieces[-1]):
            return True
        wanted = max(size, min(_PIECE, max(_SMALL_PIECE, sum(map(len, self._pieces)) // 4)))
        piece = self.budget.new(wanted, np.int32)
        if piece is None and self._pieces:
            self._is_full, oldest = True, int(self._asked.argmin())
            if self._turn - self._asked[oldest] > len(self._known):
                self._drop(oldest)
                piece = self.budget.new(wanted, np.int32)
        if piece is None:
            return False
        self._pieces.append(piece)
        self._asked = np.append(self._asked, self._turn)
        self._used = 0
        return True

    def _drop(self, place: int) -> None:
        """Forget a piece and all that is in it."""
        known = self._known["piece"]
        known[known == place] = -1
        known[known > place] -= 1
        self._asked = np.delete(self._asked, place)
        self.budget.give_back(self._pieces.pop(place))
        if place == len(self._pieces):
            self._used = len(self._pieces[-1]) if self._pieces else 0

    def _lengthen(self, rows: int) -> bool:
        """Have an entry for each of so many rows if the budget allows; whether there is any."""
        had = len(self._known)
        longer = self.budget.new(max(rows, 2 * had, 1024), _ENTRY)
        if longer is not None:
            longer[:had] = self._known
            longer["piece"][had:] = -1
            self.budget.give_back(self._known)
            self._known = longer
        return len(self._known) > 0


def _tokens(entries: np.ndarray, sizes: Sequence[int], pieces: Sequence[np.ndarray]) -> np.ndarray:
    """The tokens of texts, end to end."""
    parts = [
        pieces[place][offset : offset + size]
        for place, offset, size in zip(
            entries["piece"].tolist(), entries["offset"].tolist(), sizes, strict=True
        )
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
