"""BERT and its kin on packed sentences, as a function of their weights.

The function reads the weights, rates and modes that the library's modules have at the time of the
call, or the plain tensors of a checkpoint without modules. It is faster than
the modules: query, key and value are one product, sums and activations are made in place where no
gradient needs them, dropout and the gradient of the word table have fast ways of their own.

Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3; the layer is that of
Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3, with GELU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sentune.engine.attention import joint_attention
from sentune.engine.copies import Copies
from sentune.engine.dropout import dropout
from sentune.engine.embedding import Buffers, look_up
from sentune.machine.device import multiplied_in
from sentune.types import Features


class Affine(NamedTuple):
    """A linear layer: `(d_out, d_in)`, and `(d_out,)` or None."""

    weight: Tensor
    bias: Tensor | None


class Norm(NamedTuple):
    """A layer norm: `(d,)` each, and what keeps the root from 0."""

    weight: Tensor
    bias: Tensor
    eps: float


class Projection(NamedTuple):
    """A linear layer whose result is dropped out, added to what came before, and normalised."""

    dense: Affine
    norm: Norm
    rate: float


class Layer(NamedTuple):
    """A layer of the encoder."""

    qkv: Sequence[Affine]  # query, key and value; all with a bias, or none
    heads: int
    rate: float  # of dropout of the attention weights
    scale: float  # factor on the attention scores
    mixed: Projection  # after attention
    inner: Affine  # the wide layer
    activation: Callable[[Tensor], Tensor]  # after it
    output: Projection  # back to the width of the encoder
    is_replayed: bool = False  # whether inner results are computed again for the gradient


class Tables(NamedTuple):
    """The embeddings of words, positions and token types, `(v, d)` each, and of a task if any."""

    words: Tensor
    padding: int | None
    positions: Tensor
    position_padding: int | None
    types: Tensor
    task: Tensor | None
    norm: Norm
    rate: float
    project: Affine | None


class Bert(NamedTuple):
    """An encoder."""

    tables: Tables
    layers: Sequence[Layer]


def run(bert: Bert, features: Features, copies: Copies, buffers: Buffers | None = None) -> Tensor:
    """Token embeddings `(T, d)` of packed features; `position_ids` as its table counts them."""
    x = _embedded(bert.tables, features, buffers)
    for layer in bert.layers:
        if layer.is_replayed and torch.is_grad_enabled():
            x = checkpoint(_layer, layer, x, features, copies, use_reentrant=False)
        else:
            x = _layer(layer, x, features, copies)
    return x


def _embedded(tables: Tables, features: Features, buffers: Buffers | None) -> Tensor:
    x = look_up(features["input_ids"], tables.words, tables.padding, buffers)
    if "token_type_ids" in features:
        x = x + look_up(features["token_type_ids"], tables.types, None, buffers)
    else:
        x = x + tables.types[0]
    places = features["position_ids"]
    x = x + look_up(places, tables.positions, tables.position_padding, buffers)
    if tables.task is not None:
        x = x + tables.task[0]
    x = _dropped(_normed(x, tables.norm), tables.rate)
    # As exact as the embeddings: what is added to it in every layer must not be rounded each time.
    return x if tables.project is None else F.linear(x, *tables.project).to(x.dtype)


def _layer(layer: Layer, x: Tensor, features: Features, copies: Copies) -> Tensor:
    qkv = _linear(layer.qkv, x, copies)  # (T, 3 · d)
    mixed = joint_attention(
        qkv, layer.heads, features["layout"], features["cu_seqlens"], layer.rate, layer.scale
    )
    x = _projected(layer.mixed, mixed, x, copies)
    inner = _linear([layer.inner], x, copies)  # (T, width inside)
    return _projected(layer.output, _activated(layer.activation, inner), x, copies)


def _projected(part: Projection, inner: Tensor, x: Tensor, copies: Copies) -> Tensor:
    projected = _dropped(_linear([part.dense], inner, copies), part.rate)
    # In place where it may be: memory that is fresh costs more than the sum.
    in_place = projected.dtype == x.dtype and not projected.requires_grad
    return _normed(projected.add_(x) if in_place else projected + x, part.norm)


def _linear(layers: Sequence[Affine], x: Tensor, copies: Copies) -> Tensor:
    """The product with all layers, `(..., d_out of all)`; of one layer as autocast would."""
    dtype = multiplied_in(x.device.type)
    if len(layers) == 1 and (dtype is None or torch.is_grad_enabled()):
        return F.linear(x, *layers[0])
    weights = [layer.weight for layer in layers]
    biases = [layer.bias for layer in layers if layer.bias is not None]
    dtype = dtype or weights[0].dtype
    bias = copies.of(biases, dtype) if biases else None
    return F.linear(x.to(dtype), copies.of(weights, dtype), bias)


def _activated(activation: Callable[[Tensor], Tensor], inner: Tensor) -> Tensor:
    if activation is F.gelu and not inner.requires_grad:
        return torch.ops.aten.gelu_(inner)
    return activation(inner)


def _normed(x: Tensor, norm: Norm) -> Tensor:
    return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def _dropped(x: Tensor, rate: float) -> Tensor:
    return dropout(x, rate) if rate > 0 else x


# Where the weights are ----------------------------------------------------------------------------


def of_tensors(tensors: Mapping[str, Tensor], heads: int, layers: int, eps: float) -> Bert:
    """The encoder of the tensors of a BERT checkpoint, in evaluation."""

    def affine(name: str) -> Affine:
        return Affine(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name: str) -> Norm:
        return Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps)

    def projection(name: str) -> Projection:
        return Projection(affine(f"{name}.dense"), norm(f"{name}.LayerNorm"), 0.0)

    def layer(place: str) -> Layer:
        qkv = [affine(f"{place}.attention.self.{name}") for name in ("query", "key", "value")]
        scale = (qkv[0].weight.shape[0] // heads) ** -0.5
        mixed = projection(f"{place}.attention.output")
        inner, output = affine(f"{place}.intermediate.dense"), projection(f"{place}.output")
        return Layer(qkv, heads, 0.0, scale, mixed, inner, F.gelu, output)

    words, positions, types = (
        tensors[f"embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    own = norm("embeddings.LayerNorm")
    tables = Tables(words, None, positions, None, types, None, own, 0.0, None)
    return Bert(tables, [layer(f"encoder.layer.{number}") for number in range(layers)])


def of_modules(encoder: Any) -> Bert:
    """The encoder of the library's modules, as they are now."""
    embeddings, layers = encoder.embeddings, encoder.encoder.layer
    task = getattr(embeddings, "task_type_embeddings", None)
    project = getattr(encoder, "embeddings_project", None)
    tables = Tables(
        embeddings.word_embeddings.weight,
        embeddings.word_embeddings.padding_idx,
        embeddings.position_embeddings.weight,
        embeddings.position_embeddings.padding_idx,
        embeddings.token_type_embeddings.weight,
        None if task is None else task.weight,
        _norm(embeddings.LayerNorm),
        _rate(embeddings.dropout),
        None if project is None else _affine(project),
    )
    return Bert(tables, [_layer_of(layer) for layer in layers])


def _layer_of(layer: Any) -> Layer:
    attention = layer.attention.self
    activation = layer.intermediate.intermediate_act_fn
    return Layer(
        [_affine(part) for part in (attention.query, attention.key, attention.value)],
        attention.num_attention_heads,
        attention.dropout.p if attention.training else 0.0,
        attention.scaling,
        _projection(layer.attention.output),
        _affine(layer.intermediate.dense),
        F.gelu if getattr(activation, "act", None) is F.gelu else activation,
        _projection(layer.output),
        layer.gradient_checkpointing and layer.training,
    )


def _projection(part: Any) -> Projection:
    return Projection(_affine(part.dense), _norm(part.LayerNorm), _rate(part.dropout))


def _affine(linear: Any) -> Affine:
    return Affine(linear.weight, linear.bias)


def _norm(norm: Any) -> Norm:
    return Norm(norm.weight, norm.bias, norm.eps)


def _rate(layer: Any) -> float:
    return layer.p if layer.training else 0.0
