"""Heads of the transformers library on the token rows that they need.

A classification head reads one row per text: its first token, or the mean of all. Only that row is
given to it, so that the encoder below runs packed. The head is the library's own: its `forward` is
called on a view of the model in which the encoder's place holds what was computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.engine import packing, segments
from sentune.engine.tree import inner_of
from sentune.types import Features

Rows = Literal["cls", "mean"]


# Families whose classification head reads the first token.
_FIRST = set(
    """albert bert camembert distilbert electra ernie gte jina_embeddings_v3 nomic_bert roberta
    roberta-prelayernorm xlm-roberta xlm-roberta-xl""".split()
)
# What a configuration may say of it.
_BY_NAME: Mapping[str, Rows] = {"cls": "cls", "bos": "cls", "mean": "mean"}


def rows_needed(model: Any) -> Rows | None:
    """The pooling that gives the row which a classification head reads; None if not known."""
    model = inner_of(model)
    if not type(model).__name__.endswith("ForSequenceClassification"):
        return None
    config = model.config
    if config.model_type in _FIRST:
        return "cls"
    is_known = config.model_type in ("modernbert", "eurobert")
    return _BY_NAME.get(config.classifier_pooling) if is_known else None


def encoder_of(model: Any) -> Any:
    """The encoder below a head."""
    return inner_of(model).base_model


def classify(model: Any, tokens: Tensor, features: Features) -> Tensor:
    """Logits `(b, labels)`, in the caller's order, of packed token embeddings `(T, d)`."""
    model = inner_of(model)
    modes: Any = [rows_needed(model)]
    rows = segments.pool(segments.wide(tokens), features["cu_seqlens"], modes)
    rows = packing.to_caller_order(rows, features["order"])
    weight = next(model.parameters())
    with torch.autocast(weight.device.type, enabled=False):  # a few products, in full precision
        return _logits(model, rows.to(weight.dtype)[:, None])


def _logits(model: Any, rows: Tensor) -> Tensor:
    """What the library's head makes of texts of one token each, `(b, 1, d)`."""
    view = object.__new__(type(model))
    encoder = _Computed(rows, _pooled(model.base_model, rows))
    modules = {**model.__dict__["_modules"], model.base_model_prefix: encoder}
    view.__dict__.update(model.__dict__, _modules=modules)
    mask = torch.ones(rows.shape[:2], dtype=torch.int64, device=rows.device)
    return type(model).forward(view, attention_mask=mask, return_dict=True).logits


def _pooled(encoder: Any, rows: Tensor) -> Tensor | None:
    pooler = getattr(encoder, "pooler", None)
    if pooler is None:
        return None
    activation = getattr(encoder, "pooler_activation", None)
    return pooler(rows) if activation is None else activation(pooler(rows[:, 0]))


class _Computed(nn.Module):
    """Stands where an encoder was, and gives what was computed by it."""

    def __init__(self, rows: Tensor, pooled: Tensor | None) -> None:
        super().__init__()
        self.rows, self.pooled = rows, pooled

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output, whatever is given."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        return BaseModelOutputWithPooling(last_hidden_state=self.rows, pooler_output=self.pooled)


def compute_in_float32(layer: nn.Module, *, wanted: bool) -> None:
    """Let a linear layer compute in float32, whatever the rest computes in; or undo that."""
    hooks = layer._forward_hooks
    for number in [number for number, hook in hooks.items() if hook is in_float32]:
        del hooks[number]
    if wanted:
        layer.register_forward_hook(in_float32)


def in_float32(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook; see `compute_in_float32`."""
    bias = None if layer.bias is None else layer.bias.float()
    with torch.autocast(output.device.type, enabled=False):
        return F.linear(inputs[0].float(), layer.weight.float(), bias)
