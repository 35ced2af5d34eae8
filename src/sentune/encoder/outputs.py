"""What the modules of a model give, key by key: per row, per token, or of the whole batch.

Each module declares what it gives (`Module.outputs`). Of a module that declares nothing, tensors
are per row, as other libraries take them; everything else is of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sentune.engine import packing
from sentune.text import layouts
from sentune.types import Features, OutputKind

# What a batch holds before any module.
_GIVEN: dict[str, OutputKind] = {
    **dict.fromkeys((*layouts.TOKEN_KEYS, "attention_mask", "position_ids"), "token"),
    **dict.fromkeys((*layouts.BATCH_KEYS, "prompt_length", "layout", "cu_seqlens"), "batch"),
    **dict.fromkeys(("prompt_lengths", "sentence_lengths"), "row"),
}
# How the rows of a batch are laid out, which says nothing of a row by itself.
_OF_LAYOUT = ("lengths", "order", "layout", "cu_seqlens", "offsets", "position_ids")
# What one row has of a list of the batch's, under the name that it has in a padded batch.
_OF_ONE_ROW = {"prompt_lengths": "prompt_length"}


def kinds_of(modules: Iterable[nn.Module]) -> dict[str, OutputKind]:
    """Key -> what kind of output it is."""
    kinds = dict(_GIVEN)
    for module in modules:
        kinds |= getattr(module, "outputs", {})
    return kinds


def kind_of(key: str, value: Any, kinds: Mapping[str, OutputKind]) -> OutputKind:
    """What kind of output a value is."""
    return kinds.get(key) or ("row" if isinstance(value, Tensor) and value.ndim else "batch")


def rows_of(value: Any, kind: OutputKind, features: Features, rows: int) -> list[Any]:
    """A value for each row, in the caller's order; tokens without padding."""
    if isinstance(value, tuple):  # one for each layer
        layers = [rows_of(layer, kind, features, rows) for layer in value]
        return list(zip(*layers, strict=True)) if layers else [()] * rows
    if kind == "batch":
        return [value] * rows
    if kind == "row":
        return list(value)
    if "lengths" not in features:
        mask = features["attention_mask"].bool()
        return [row[keep] for row, keep in zip(value, mask, strict=True)]
    parts = value.split(features["lengths"])
    order = features["order"].tolist() if "order" in features else range(rows)
    found: list[Any] = [None] * rows
    for place, part in zip(order, parts, strict=True):
        found[place] = part
    return found


def everything(features: Features, kinds: Mapping[str, OutputKind], rows: int) -> list[Features]:
    """Per row all that the modules gave, in the caller's order."""
    columns = {
        _OF_ONE_ROW.get(key, key): rows_of(value, kind_of(key, value, kinds), features, rows)
        for key, value in features.items()
        if key not in _OF_LAYOUT
    }
    if "attention_mask" not in columns and "input_ids" in columns:
        columns["attention_mask"] = [torch.ones_like(ids) for ids in columns["input_ids"]]
    return [{key: values[row] for key, values in columns.items()} for row in range(rows)]


def padded_like(features: Features, padded: Features, kinds: Mapping[str, OutputKind]) -> Features:
    """What a packed run added to a padded batch, in its layout."""
    mask = padded["attention_mask"].bool()
    found: Features = {}
    for key, value in features.items():
        if key in padded or key in _OF_LAYOUT:
            continue
        if kind_of(key, value, kinds) == "token" and isinstance(value, Tensor):
            tokens = torch.cat(rows_of(value, "token", features, len(mask)))
            whole = tokens.new_zeros((*mask.shape, *tokens.shape[1:]))
            whole[mask] = tokens
            found[key] = whole
        else:
            found[key] = value
    return found


def joined(
    parts: Sequence[tuple[list[int], Features]], kinds: Mapping[str, OutputKind]
) -> Features:
    """The outputs per row of several batches as those of one, in the order of the row numbers."""
    rows = torch.tensor([row for numbers, _ in parts for row in numbers])
    found: Features = {}
    for key, value in parts[0][1].items():
        is_new = key not in _GIVEN and isinstance(value, Tensor)
        if is_new and kind_of(key, value, kinds) == "row":
            whole = torch.cat([features[key] for _, features in parts])
            found[key] = packing.to_caller_order(whole, rows.to(whole.device))
    return found
