"""Batches of tokenised texts: how their rows are laid out, joined, picked and cut.

A batch is a plain dict (`sentune.types.Features`) in one of three layouts.

*Ragged*, how tokenised text travels: the tokens of all rows end to end, `input_ids (T,)`, and
`lengths`, b ints, rows in the caller's order. Optional: `token_type_ids (T,)`, `prompt_lengths`
(b ints: how many leading tokens of each row are its prompt), `truncated` (how many rows were
truncated). Its arrays are numpy's until a model takes them.

*Packed*, what a packed encoder runs on: see `sentune.engine.packing`.

*Padded*: `input_ids (b, t)`, `attention_mask (b, t)`, optional `token_type_ids (b, t)`,
`prompt_length` (an int, if all rows have the same prompt) or `prompt_lengths` (b ints), and
`sentence_lengths (b,)` of models of words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from sentune.types import Features
from sentune.vectors import rows as arrays

# Keys that hold one value per token in the ragged and packed layouts.
TOKEN_KEYS = ("input_ids", "token_type_ids")
# Keys that speak of the whole batch, such as the route it takes; every change of layout keeps them.
BATCH_KEYS = ("task", "modality")
PADDED_KEYS = frozenset(
    {
        *TOKEN_KEYS,
        *BATCH_KEYS,
        *("attention_mask", "prompt_length", "prompt_lengths", "sentence_lengths"),
    }
)


def is_ragged(features: Features) -> bool:
    """Whether the features are in the ragged layout."""
    return "lengths" in features and "cu_seqlens" not in features


def is_packed(features: Features) -> bool:
    """Whether the features are in the packed layout."""
    return "cu_seqlens" in features


def rows_in(features: Features) -> int:
    """How many rows a batch has, in any layout."""
    for key in ("lengths", "offsets", "input_ids", "attention_mask", "inputs_embeds"):
        if key in features:
            return len(features[key])
    # Of a module that reads something else than tokens.
    return next((len(x) for x in features.values() if getattr(x, "ndim", 0)), 0)


def tokens_in(features: Features) -> int:
    """How many tokens a batch has, padding not counted; 0 if it has none."""
    if "lengths" in features:
        return sum(features["lengths"])
    mask = features.get("attention_mask")
    return 0 if mask is None else int(mask.sum())


def slots_in(features: Features) -> int:
    """How many tokens a batch has once all its texts are padded to the longest."""
    if "lengths" in features:
        return len(features["lengths"]) * max(features["lengths"], default=0)
    mask = features.get("attention_mask")
    return 0 if mask is None else int(mask.numel())


def prompts_in(features: Features, rows: int) -> list[int] | None:
    """Tokens of each row's prompt, b ints, from either key that a batch may carry; None if none.

    `prompt_length` may be an int, or a tensor with one number for all rows or one for each.
    """
    if features.get("prompt_lengths") is not None:
        return features["prompt_lengths"]
    length = features.get("prompt_length")
    if length is None:
        return None
    each = length.flatten().tolist() if hasattr(length, "flatten") else [length]
    return list(map(int, each if len(each) == rows else each[:1] * rows))


def ragged(
    input_ids: Any,
    lengths: list[int],
    token_type_ids: Any = None,
    prompt_lengths: list[int] | None = None,
    truncated: int = 0,
) -> Features:
    """Features in the ragged layout: `(T,)` what is per token, b ints what is per row."""
    features: Features = {"input_ids": input_ids, "lengths": lengths}
    if token_type_ids is not None:
        features["token_type_ids"] = token_type_ids
    if prompt_lengths is not None:
        features["prompt_lengths"] = prompt_lengths
    if truncated:
        features["truncated"] = truncated
    return features


def from_offsets(features: Features) -> Features:
    """The ragged layout of tokens `(T,)` and `offsets (b,)`, where each row begins."""
    ids = features["input_ids"]
    starts = [*map(int, features["offsets"]), len(ids)]
    lengths = [end - start for start, end in zip(starts, starts[1:], strict=False)]
    others = {key: features[key] for key in features if key != "offsets"}
    return {**others, **ragged(ids, lengths)}


def runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours of equal length as `(how many rows, their length)`, in order."""
    return [(sum(1 for _ in group), length) for length, group in groupby(lengths)]


def join(columns: Sequence[Features]) -> Features:
    """One ragged batch of several: the rows of the first, then of the second, and so on."""
    if len(columns) == 1:
        return columns[0]
    lengths = [length for column in columns for length in column["lengths"]]
    joined = ragged(arrays.cat([column["input_ids"] for column in columns]), lengths)
    if any("token_type_ids" in column for column in columns):
        types = [
            column["token_type_ids"]
            if "token_type_ids" in column
            else arrays.zeros_like(column["input_ids"])
            for column in columns
        ]
        joined["token_type_ids"] = arrays.cat(types)
    joined |= of_batch(columns[0])
    if any("prompt_lengths" in column for column in columns):
        joined["prompt_lengths"] = [
            n
            for column in columns
            for n in column.get("prompt_lengths", [0] * len(column["lengths"]))
        ]
    return joined


def select(features: Features, rows: Sequence[int]) -> Features:
    """The given rows of a ragged batch, in the given order, still ragged."""
    lengths = features["lengths"]
    picked = ragged(features["input_ids"], [lengths[row] for row in rows])
    index = _token_index(lengths, rows)
    for key in TOKEN_KEYS:
        if key in features:
            picked[key] = arrays.take(features[key], index)
    if "prompt_lengths" in features:
        picked["prompt_lengths"] = [features["prompt_lengths"][row] for row in rows]
    return {**picked, **of_batch(features)}


def can_be_ragged(features: Features) -> bool:
    """Whether a padded batch says the same without its padding.

    It does if it holds only tokens, and those of each row come first: with gaps in the mask, or
    padding on the left, the positions are those of the slots.
    """
    if not features.keys() <= PADDED_KEYS or "input_ids" not in features:
        return False
    mask = features.get("attention_mask")
    if mask is None or mask.ndim != 2 or not mask.shape[1]:
        return False
    return bool((mask[:, 1:] <= mask[:, :-1]).all())


def by_length(lengths: Sequence[int], *, longest_first: bool = False) -> list[int]:
    """Row numbers in order of length; rows of equal length keep their order."""
    return sorted(range(len(lengths)), key=lengths.__getitem__, reverse=longest_first)


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length, longest first: one that is too big fails at once."""
    order = by_length(lengths, longest_first=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def batches_by_tokens(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches of at most `tokens` tokens, or of one row, longest first."""
    batch: list[int] = []
    taken = 0
    for row in by_length(lengths, longest_first=True):
        size = max(lengths[row], 1)
        if batch and taken + size > tokens:
            yield batch
            batch, taken = [], 0
        batch.append(row)
        taken += size
    if batch:
        yield batch


def length_buckets(lengths: Sequence[int], waste: float = 0.2) -> Iterator[list[int]]:
    """Row numbers in groups of like length, for padding."""
    bucket: list[int] = []
    real = 0
    for row in by_length(lengths):
        area = (len(bucket) + 1) * lengths[row]
        if bucket and real + lengths[row] < (1 - waste) * area:
            yield bucket
            bucket, real = [], 0
        bucket.append(row)
        real += lengths[row]
    if bucket:
        yield bucket


def _token_index(lengths: Sequence[int], rows: Sequence[int]) -> np.ndarray:
    """Positions, in the ragged tokens, of the tokens of the given rows."""
    sizes = np.asarray(lengths, dtype=np.int64)
    starts = sizes.cumsum() - sizes
    picked_rows = np.asarray(rows, dtype=np.int64)
    picked = sizes[picked_rows]
    first = picked.cumsum() - picked  # where each picked row begins in the result
    return np.arange(picked.sum()) + np.repeat(starts[picked_rows] - first, picked)


def of_batch(features: Features) -> Features:
    """What the features say of the whole batch: its task, its modality."""
    return {key: features[key] for key in BATCH_KEYS if key in features}
