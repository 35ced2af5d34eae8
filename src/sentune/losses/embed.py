"""Columns of features -> columns of embeddings, in one forward pass or in several small ones.

All columns of a batch are joined into one ragged batch, so that the model sees texts of like
length together whatever column they are in, and the result is split again.

Bounded memory ("gradient caching") is the same with `mini_batch_size` set: each mini-batch runs
under `torch.utils.checkpoint`, which keeps only its embeddings and runs it again, with the same
dropout, when the gradient comes back. No loss needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from tqdm.auto import tqdm

from sentune.engine import packing
from sentune.engine.tree import as_now
from sentune.machine.device import multiplied_in, multiplying_in
from sentune.text import layouts
from sentune.types import EmbeddingModel, Features

Reader: TypeAlias = Callable[[EmbeddingModel, Features], Tensor]

_is_separate: ContextVar[bool] = ContextVar("is_separate", default=False)
_RAGGED_KEYS = frozenset({*layouts.TOKEN_KEYS, "lengths", "prompt_lengths", "truncated"})


def sentence_embedding(model: EmbeddingModel, features: Features) -> Tensor:
    """The model's `sentence_embedding (b, d)` of the features."""
    return model(features)["sentence_embedding"]


def embed(
    model: EmbeddingModel, columns: Sequence[Features], mini_batch_size: int | None = None
) -> list[Tensor]:
    """One `(b, d)` per column, all in as few forward passes as possible; as `Embedder`."""
    return Embedder(mini_batch_size)(model, columns)


@dataclass(frozen=True)
class Embedder:
    """How a model is run over the columns of a batch.

    `mini_batch_size` is as in `Loss`; `mini_batch_num_tokens` limits the tokens of a pass instead.
    `read` is what is taken from the model: `(model, features) -> (b, ..., d)`.
    """

    mini_batch_size: int | None = None
    mini_batch_num_tokens: int | None = None
    show_progress_bar: bool = False
    read: Reader = sentence_embedding

    def __call__(self, model: EmbeddingModel, columns: Sequence[Features]) -> list[Tensor]:
        """One `(b, ..., d)` per column."""
        result: dict[int, Tensor] = {}
        for members, features in _joined(columns):
            rows = self._run(model, features)
            if len(members) == 1:
                result[members[0]] = rows
                continue
            sizes = [number_of_rows(columns[member]) for member in members]
            result.update(zip(members, rows.split(sizes), strict=True))
        return [result[place] for place in range(len(columns))]

    def _run(self, model: EmbeddingModel, features: Features) -> Tensor:
        batches = self._mini_batches(features)
        if len(batches) < 2:
            return self.read(model, features)
        shown = tqdm(batches, desc="Mini-batches", disable=not self.show_progress_bar)
        with _casts_of_its_own(next(x for x in features.values() if isinstance(x, Tensor)).device):
            parts = [replayed(self.read, model, select(features, rows)) for rows in shown]
        order = torch.tensor([row for rows in batches for row in rows], device=parts[0].device)
        return packing.to_caller_order(torch.cat(parts), order)

    def _mini_batches(self, features: Features) -> list[list[int]]:
        """Row numbers of each mini-batch, rows of like length together."""
        rows = number_of_rows(features)
        lengths = features["lengths"] if layouts.is_ragged(features) else [1] * rows
        tokens = self.mini_batch_num_tokens
        if tokens is None:
            if self.mini_batch_size is None or rows <= self.mini_batch_size:
                return [list(range(rows))]
            # So many rows of the longest have to fit; each pass has a price, so short ones fill it.
            tokens = self.mini_batch_size * max(*lengths, 1)
        return list(layouts.batches_by_tokens(lengths, tokens))


def mini_batches_in_order(
    features: Features, size: int | None, num_tokens: int | None = None
) -> list[tuple[int, int]]:
    """First row and row after the last of each mini-batch of a column, in the order of its rows."""
    rows = number_of_rows(features)
    if num_tokens is None:
        size = size or max(rows, 1)
        return [(start, min(start + size, rows)) for start in range(0, rows, size)]
    features = as_ragged(features)
    lengths = features["lengths"] if layouts.is_ragged(features) else [1] * rows
    ends, taken = [], 0
    for row, length in enumerate(lengths):
        if taken and taken + length > num_tokens:
            ends.append(row)
            taken = 0
        taken += length
    ends.append(rows)
    return list(zip([0, *ends[:-1]], ends, strict=True)) if rows else []


@contextmanager
def column_merging_disabled() -> Iterator[None]:
    """Inside the block the model runs once per column, and not once for all that can be joined."""
    token = _is_separate.set(True)
    try:
        yield
    finally:
        _is_separate.reset(token)


def by_rows(score: Callable[[Tensor], Tensor], rows: Tensor, size: int | None) -> Tensor:
    """`score(rows)`, computed for `size` rows at a time so that no full score matrix is kept.

    `score` maps row numbers `(c,)` to one value per row `(c,)`; `size=None` takes all at once.
    """
    if size is None or size >= len(rows):
        return score(rows)
    return torch.cat([replayed(score, chunk) for chunk in rows.split(size)])


def replayed(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """`function(*arguments)`, keeping no inner result: it runs again when the gradient comes."""
    if not torch.is_grad_enabled():
        return function(*arguments)
    return checkpoint(as_now(function), *arguments, use_reentrant=False)


def _casts_of_its_own(device: torch.device) -> AbstractContextManager[object]:
    """Inside the block autocast rounds the weights again for each mini-batch.

    Shared rounded weights would sum up the gradients of all mini-batches in half precision, where
    the sum of some hundred terms no longer grows.
    """
    return multiplying_in(multiplied_in(device.type), device)


def number_of_rows(features: Features) -> int:
    """b, in whatever layout the features are."""
    return layouts.rows_in(features)


def select(features: Features, rows: Sequence[int]) -> Features:
    """The given rows of ragged features, or of features with one entry per row."""
    features = as_ragged(features) if "offsets" in features else features
    if layouts.is_ragged(features):
        return {**_extras(features), **layouts.select(features, rows)}
    b = number_of_rows(features)
    index = torch.tensor(rows)
    return {
        key: value[index.to(value.device)]
        if isinstance(value, Tensor) and value.ndim and len(value) == b
        else value
        for key, value in features.items()
    }


def as_ragged(features: Features) -> Features:
    """The ragged layout of a padded batch, or of one with `offsets`; anything else as it is."""
    if "lengths" in features:
        return features
    if "offsets" in features and features["input_ids"].ndim == 1:
        return layouts.from_offsets(features)
    return packing.from_padded(features) if layouts.can_be_ragged(features) else features


def _joined(columns: Sequence[Features]) -> Iterator[tuple[list[int], Features]]:
    """Columns that can share a forward pass: their places, and their rows as one batch."""
    ragged = [as_ragged(column) for column in columns]
    groups: dict[Hashable, list[int]] = {}
    for place, features in enumerate(ragged):
        kind = place if _is_separate.get() else _kind(features, place)
        groups.setdefault(kind, []).append(place)
    for members in groups.values():
        first = ragged[members[0]]
        if len(members) > 1:
            first = {**_extras(first), **layouts.join([ragged[member] for member in members])}
        yield members, first


def _kind(features: Features, place: int) -> Hashable:
    """Equal for columns that may be joined: ragged, and different in nothing else."""
    extras = _extras(features)
    plain = all(isinstance(value, (str, int, float, type(None))) for value in extras.values())
    if layouts.is_ragged(features) and plain:
        return frozenset(extras.items())
    return place


def _extras(features: Features) -> Features:
    """What a column carries besides its tokens, such as the route of a routed model."""
    return {key: value for key, value in features.items() if key not in _RAGGED_KEYS}
