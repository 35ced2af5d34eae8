"""A second model that looks at the same texts: its embeddings of the columns of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sentune.engine import packing
from sentune.errors import InputError, SettingError
from sentune.losses.embed import Embedder, as_ragged
from sentune.text import layouts
from sentune.types import Features


def guide_embeddings(
    guide: Any, model: Any, columns: Sequence[Features], embedder: Embedder
) -> list[Tensor]:
    """The guide's embeddings `(b, d)` of each column, without gradient."""
    if needs_own_tokens(guide, model):
        read = getattr(guide, "read", None) or guide.tokenize
        columns = [read(texts(model, features)) for features in columns]
    device = getattr(guide, "device", None)
    if device is not None:
        columns = [packing.to_device(features, device) for features in columns]
    with torch.no_grad():
        return embedder(guide, columns)


def needs_own_tokens(guide: Any, model: Any) -> bool:
    """Whether the guide reads other tokens than the model, or fewer; SettingError if unknown."""
    tokenizers: list[Any] = [getattr(one, "tokenizer", None) for one in (guide, model)]
    if tokenizers == [None, None]:
        return False
    if None in tokenizers:
        raise SettingError("both the model and its guide need a tokenizer, or neither")
    first, second = tokenizers
    if first is not second and first.get_vocab() != second.get_vocab():
        return True
    limits = [getattr(one, "max_seq_length", None) for one in (guide, model)]
    guide_limit, model_limit = (float("inf") if limit is None else limit for limit in limits)
    return guide_limit < model_limit


def texts(model: Any, features: Features) -> list[str]:
    """The texts of a column of tokens, as far as the model's tokenizer can restore them."""
    ragged = as_ragged(features)
    if not layouts.is_ragged(ragged):
        raise InputError(
            f"a guide with another tokenizer needs text, got features {sorted(features)}"
        )
    rows = [ids.tolist() for ids in ragged["input_ids"].split(ragged["lengths"])]
    tokenizer = model.tokenizer
    decode = getattr(tokenizer, "batch_decode", None) or tokenizer.decode_batch
    return decode(rows, skip_special_tokens=True)
