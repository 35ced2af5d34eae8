"""BERT on packed sentences, without the transformers library.

That library takes seconds to load, and for embeddings of a BERT nothing of it is needed. The layers
hold the same weights under the same names as there, so that its own class can take them over, which
it does as soon as anything but packed embeddings is wanted (`sentune.models.transformer`).

Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3; the layer is that of
Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3, with GELU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sentune.engine.attention import in_blocks
from sentune.engine.linear import Copies, Linear, product_of_all
from sentune.types import Features


@dataclass(frozen=True)
class Shape:
    """The sizes of a BERT, under the names of its config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float


class Bert(nn.Module):
    """Tokens of packed sentences -> contextual token embeddings, in evaluation only.

    Args:
        shape: The sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = _Embeddings(shape)
        layers = nn.ModuleList(_Layer(shape) for _ in range(shape.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layer": layers})
        # Not used here, but part of the checkpoint.
        self.pooler = nn.ModuleDict({"dense": nn.Linear(shape.hidden_size, shape.hidden_size)})

    def forward(self, features: Features) -> Tensor:
        """Token embeddings `(T, d)` of packed features."""
        x = self.embeddings(features)
        layers: Any = self.encoder["layer"]
        for layer in layers:
            x = layer(x, features)
        return x


class _Embeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.hidden_size
        self.word_embeddings = _table(shape.vocab_size, d)
        self.position_embeddings = _table(shape.max_position_embeddings, d)
        self.token_type_embeddings = _table(shape.type_vocab_size, d)
        self.LayerNorm = nn.LayerNorm(d, eps=shape.layer_norm_eps)

    def forward(self, features: Features) -> Tensor:
        x = self.word_embeddings(features["input_ids"])
        if "token_type_ids" in features:
            x = x + self.token_type_embeddings(features["token_type_ids"])
        else:
            x = x + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x + self.position_embeddings(features["position_ids"]))


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.hidden_size
        self.heads = shape.num_attention_heads
        self.self = nn.ModuleDict({name: Linear(d, d) for name in ("query", "key", "value")})
        self.output = _projection(d, d, shape.layer_norm_eps)
        self._copies = Copies()

    def forward(self, x: Tensor, features: Features) -> Tensor:
        layers: list[Any] = list(self.self.values())
        projected = product_of_all(layers, x, self._copies)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in projected)
        mixed = in_blocks(q, k, v, features["blocks"]).flatten(1)
        return _add_and_norm(self.output, mixed, x)


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, inside = shape.hidden_size, shape.intermediate_size
        self.attention = _Attention(shape)
        self.intermediate = nn.ModuleDict({"dense": Linear(d, inside)})
        self.output = _projection(inside, d, shape.layer_norm_eps)

    def forward(self, x: Tensor, features: Features) -> Tensor:
        x = self.attention(x, features)
        inner = torch.ops.aten.gelu_(self.intermediate["dense"](x))  # (T, width inside)
        return _add_and_norm(self.output, inner, x)


def _table(rows: int, width: int) -> nn.Embedding:
    # Given a weight, it draws no random ones, which would make torch load its compiler.
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


def _projection(width_in: int, width_out: int, eps: float) -> nn.ModuleDict:
    return nn.ModuleDict(
        {"dense": Linear(width_in, width_out), "LayerNorm": nn.LayerNorm(width_out, eps=eps)}
    )


def _add_and_norm(output: nn.ModuleDict, inner: Tensor, x: Tensor) -> Tensor:
    projected = output["dense"](inner)
    # In place where the types allow it: memory that is fresh costs more than the sum.
    total = projected.add_(x) if projected.dtype == x.dtype else projected + x
    return output["LayerNorm"](total)


def filled(shape: Shape, tensors: dict[str, Tensor]) -> Bert | None:
    """A BERT with the weights of a checkpoint; None if they are not just those that it has.

    Args:
        shape: The sizes.
        tensors: Name -> weight.
    """
    with torch.device("meta"):
        bert = Bert(shape)
    wanted = {name: weight.shape for name, weight in bert.state_dict().items()}
    if wanted != {name: weight.shape for name, weight in tensors.items()}:
        return None
    bert.load_state_dict(tensors, assign=True)
    return bert.eval()
