"""Modules between the encoder and the pooling: CNN, LSTM, WeightedLayerPooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sentune.checks import accepts_old_names, check_positive, check_share
from sentune.engine import packing
from sentune.errors import InputError, SettingError
from sentune.models import layouts as rows
from sentune.models.base import PER_TOKEN, Module, take
from sentune.types import Features

TOKENS = "token_embeddings"


class CNN(Module):
    """Convolutions of several widths over the token embeddings of a text, side by side.

    Before and after a text there are zeros, as in its padding, whatever vectors an encoder has left
    there, so that the result does not depend on the other texts of the batch.

    Args:
        in_embedding_dimension: Width of the token embeddings read.
        out_channels: Width that each convolution gives.
        kernel_sizes: Tokens that each convolution sees; odd ones keep the number of tokens.
        stride_sizes: Steps of each convolution; None for 1. Others shorten the text.
    """

    outputs = PER_TOKEN
    config_file_name: ClassVar[str] = "cnn_config.json"
    config_keys = ["in_embedding_dimension", "out_channels", "kernel_sizes", "stride_sizes"]

    @accepts_old_names(in_word_embedding_dimension="in_embedding_dimension")
    def __init__(
        self,
        in_embedding_dimension: int,
        out_channels: int = 256,
        kernel_sizes: Sequence[int] = (1, 3, 5),
        stride_sizes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_embedding_dimension=in_embedding_dimension, out_channels=out_channels)
        self.in_embedding_dimension = in_embedding_dimension
        self.out_channels = out_channels
        self.kernel_sizes = list(kernel_sizes)
        self.stride_sizes = [1] * len(kernel_sizes) if stride_sizes is None else list(stride_sizes)
        _check_kernels(self.kernel_sizes, self.stride_sizes)
        self.convs = nn.ModuleList(
            nn.Conv1d(
                in_embedding_dimension, out_channels, kernel, stride, padding=(kernel - 1) // 2
            )
            for kernel, stride in zip(self.kernel_sizes, self.stride_sizes, strict=True)
        )

    @property
    def reads_packed(self) -> bool:
        """Whether every token has its own result, so that the lengths of a packed batch hold."""
        return set(self.stride_sizes) == {1} and all(k % 2 for k in self.kernel_sizes)

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Replace `token_embeddings` by the results of the convolutions, side by side."""
        tokens = take(features, TOKENS, self, self.in_embedding_dimension)
        if rows.is_padded(features):
            mask = rows.mask_of(features, tokens)[:, :, None]
            return {**features, TOKENS: self._convolve(tokens.masked_fill(~mask, 0))}
        results = [tokens.new_zeros((0, self.get_embedding_dimension()))]
        for run in packing.row_views(tokens, features["lengths"]):
            results.append(self._convolve(run).flatten(0, 1))  # (n·L, out)
        return {**features, TOKENS: torch.cat(results)}

    @property
    def embeddings_dimension(self) -> int:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def get_embedding_dimension(self) -> int:
        """Width of the results side by side."""
        return self.out_channels * len(self.kernel_sizes)

    def _convolve(self, tokens: Tensor) -> Tensor:
        """`(n, t, d)` -> `(n, t, out)`."""
        if not tokens.shape[1]:  # texts without tokens
            return tokens.new_zeros((len(tokens), 0, self.get_embedding_dimension()))
        channels = tokens.transpose(1, 2)  # (n, d, t)
        return torch.cat([conv(channels) for conv in self.convs], dim=1).transpose(1, 2)


class LSTM(Module):
    """A recurrent network over the token embeddings of each text.

    Args:
        embedding_dimension: Width of the token embeddings read.
        hidden_dim: Width of the state, in each direction.
        num_layers: Layers on top of each other.
        dropout: Share of the entries dropped between two layers, 0 to 1.
        bidirectional: Whether to read the text backwards too; doubles the width given.
    """

    reads_packed = True
    outputs = PER_TOKEN
    config_file_name: ClassVar[str] = "lstm_config.json"
    config_keys = ["embedding_dimension", "hidden_dim", "num_layers", "dropout", "bidirectional"]

    @accepts_old_names(word_embedding_dimension="embedding_dimension")
    def __init__(
        self,
        embedding_dimension: int,
        hidden_dim: int,
        num_layers: int = 1,
        dropout: float = 0,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        check_positive(
            embedding_dimension=embedding_dimension, hidden_dim=hidden_dim, num_layers=num_layers
        )
        check_share(dropout=dropout)
        self.embedding_dimension = embedding_dimension
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.dropout = dropout
        self.bidirectional = bidirectional
        options: dict[str, Any] = {"dropout": dropout, "bidirectional": bidirectional}
        self.encoder = nn.LSTM(
            embedding_dimension, hidden_dim, num_layers, batch_first=True, **options
        )

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Replace `token_embeddings` by the states at each token; zeros at padding."""
        tokens = take(features, TOKENS, self, self.embedding_dimension)
        tokens, sizes = rows.flat(features, tokens)
        return {**features, TOKENS: rows.unflat(features, self._states(tokens, sizes))}

    @property
    def embeddings_dimension(self) -> int:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def get_embedding_dimension(self) -> int:
        """Width of the states."""
        return self.hidden_dim * (2 if self.bidirectional else 1)

    def _states(self, tokens: Tensor, sizes: Tensor) -> Tensor:
        """`(T, d)` tokens of rows of the given sizes -> `(T, h)` states."""
        if not len(tokens):
            return tokens.new_zeros((0, self.get_embedding_dimension()))
        order, rows_at_step = _by_step(sizes)
        # torch's own packed layout is ours in another order, so nothing is padded on the way.
        states = self.encoder(PackedSequence(tokens[order], rows_at_step.cpu()))[0].data
        return states[torch.argsort(order)]


class WeightedLayerPooling(Module):
    """A learned average of what the layers of the encoder give for each token.

    The encoder must give `all_layer_embeddings` (a transformers model with
    `config_kwargs={"output_hidden_states": True}`); without them the features pass unchanged.

    Args:
        embedding_dimension: Width of the token embeddings.
        num_hidden_layers: Layers of the encoder, the input embeddings not counted.
        layer_start: The first layer that counts; 0 is the input embeddings.
        layer_weights: `(num_hidden_layers + 1 - layer_start,)` weights to start from; None for
            equal ones.
    """

    reads_packed = True
    outputs = PER_TOKEN
    config_keys = ["embedding_dimension", "layer_start", "num_hidden_layers"]

    @accepts_old_names(word_embedding_dimension="embedding_dimension")
    def __init__(
        self,
        embedding_dimension: int,
        num_hidden_layers: int = 12,
        layer_start: int = 4,
        layer_weights: Tensor | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_positive(embedding_dimension=embedding_dimension, num_hidden_layers=num_hidden_layers)
        if not 0 <= layer_start <= num_hidden_layers:
            raise SettingError(
                f"layer_start must lie between 0 and num_hidden_layers={num_hidden_layers}, "
                f"got {layer_start!r}"
            )
        self.embedding_dimension = embedding_dimension
        self.num_hidden_layers = num_hidden_layers
        self.layer_start = layer_start
        count = num_hidden_layers + 1 - layer_start
        weights = torch.ones(count) if layer_weights is None else torch.as_tensor(layer_weights)
        if weights.shape != (count,):
            raise SettingError(
                f"layer_weights must hold a weight for each of the {count} layers from "
                f"{layer_start} to {num_hidden_layers}, got shape {tuple(weights.shape)}"
            )
        # A parameter stays the same object, so that an optimizer that holds it goes on.
        is_parameter = isinstance(weights, nn.Parameter)
        self.layer_weights = weights if is_parameter else nn.Parameter(weights.float().clone())

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Replace `token_embeddings` by the average of the layers."""
        layers = features.get("all_layer_embeddings")
        if layers is None:
            return features
        if len(layers) != self.num_hidden_layers + 1:
            raise InputError(
                f"WeightedLayerPooling is made for num_hidden_layers={self.num_hidden_layers} "
                f"and the input embeddings, got {len(layers)} layers; "
                f"build it with num_hidden_layers={len(layers) - 1}"
            )
        chosen = torch.stack(tuple(layers[self.layer_start :]))
        weights = self.layer_weights
        average = torch.tensordot(weights.to(chosen.dtype), chosen, dims=1) / weights.sum()
        return {**features, TOKENS: average}

    def get_embedding_dimension(self) -> int:
        """Width of the token embeddings."""
        return self.embedding_dimension


def _check_kernels(kernel_sizes: list[int], stride_sizes: list[int]) -> None:
    """Refuse sizes that are not positive, or kernels and strides that differ in number."""
    if not kernel_sizes or len(kernel_sizes) != len(stride_sizes):
        raise SettingError(
            f"kernel_sizes must hold at least one size, and stride_sizes one for each, "
            f"got {kernel_sizes} and {stride_sizes}"
        )
    for kernel, stride in zip(kernel_sizes, stride_sizes, strict=True):
        check_positive(kernel_sizes=kernel, stride_sizes=stride)


def _by_step(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """The order in which all first tokens come first, then all second ones, long rows leading.

    Of `(b,)` tokens per row: `(T,)` the token at each place, `(t,)` the rows that reach each step.
    """
    rank = torch.argsort(torch.argsort(sizes, descending=True, stable=True))  # (b,) 0 = longest
    row = rows.owners(sizes)  # (T,)
    step = torch.arange(len(row), device=sizes.device) - (sizes.cumsum(0) - sizes)[row]
    return torch.argsort(step * len(sizes) + rank[row]), torch.bincount(step)
