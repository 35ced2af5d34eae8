"""A loss around another loss: the same objective at several depths of the encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.errors import InputError, SettingError
from sentune.losses.base import Loss, LossValue, full_precision
from sentune.losses.embed import Embedder
from sentune.losses.nested import MatryoshkaLoss, drawn, weighted_sum
from sentune.types import EmbeddingModel, Features

LayerWeighting = Literal["uniform", "log", "linear"] | Callable[[int], float]

_LAYER_WEIGHTS: dict[str, Callable[[int], float]] = {
    "uniform": lambda layer: 1.0,
    "log": lambda layer: 1 / (1 + math.log(1 + layer)),
    "linear": lambda layer: 1 / (1 + layer),
}


_NO_LAYERS = (
    "AdaptiveLayerLoss needs the embeddings after every layer, and this model does not give them; "
    "its first module must be a Transformer"
)


class AdaptiveLayerLoss(Loss):
    """The inner loss at several depths, so that layers may be left off the encoder.

    With the encoder's input embeddings as layer 0, L its last layer, e_l the embeddings of the
    batch after layer l, and l over the n layers used in a step:

        loss = w_last · inner(e_L)
             + sum_l w_prior · w(l) / n · inner(e_l)
             + sum_l w_kl · T · KL( softmax(e_L / T) || softmax(e_l / T) )

    Args:
        model: That of the inner loss. `model(features, output_hidden_states=True)` has to give
            `layer_sentence_embeddings (b, L + 1, d)`.
        loss: The inner loss, which has the inputs and the labels.
        n_layers_per_step: How many layers, drawn at random, are used beside the last; -1 for all.
        last_layer_weight, prior_layers_weight, kl_div_weight: w_last, w_prior, w_kl.
        kl_temperature: T; 0 to leave the second term out.
        layer_weighting: w(l): "uniform" 1, "log" 1 / (1 + ln(1 + l)), "linear" 1 / (1 + l), or a
            function of l.
        mini_batch_size: As in `Loss`; None for what the inner loss says.

    Source: Li et al. 2024, equations 4 to 6, https://arxiv.org/abs/2402.14776.
    """

    option_names = (
        "loss",
        "n_layers_per_step",
        "last_layer_weight",
        "prior_layers_weight",
        "kl_div_weight",
        "kl_temperature",
        "layer_weighting",
    )
    loss: Any

    def __init__(
        self,
        model: EmbeddingModel,
        loss: nn.Module,
        n_layers_per_step: int = 1,
        last_layer_weight: float = 1.0,
        prior_layers_weight: float = 1.0,
        kl_div_weight: float = 1.0,
        kl_temperature: float = 0.3,
        layer_weighting: LayerWeighting = "uniform",
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, loss=loss, mini_batch_size=mini_batch_size)
        if not callable(layer_weighting) and layer_weighting not in _LAYER_WEIGHTS:
            raise SettingError(
                f"layer_weighting must be one of {sorted(_LAYER_WEIGHTS)} or a function of the "
                f"layer's number, got {layer_weighting!r}"
            )
        if isinstance(model, nn.Sequential) and not any(map(_may_give_layers, model.modules())):
            raise SettingError(_NO_LAYERS)
        self.n_layers_per_step = n_layers_per_step
        self.last_layer_weight = last_layer_weight
        self.prior_layers_weight = prior_layers_weight
        self.kl_div_weight = kl_div_weight
        self.kl_temperature = kl_temperature
        self.layer_weighting = layer_weighting

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """The embeddings after every layer, `(b, L + 1, d)` per column."""
        run = replace(embedder or self.embedder(), read=_layer_embeddings)
        return self._inner.embed(features, run)

    def compute(
        self, columns: Sequence[Tensor], labels: Tensor | None = None, *args: Any, **context: Any
    ) -> LossValue:
        """The weighted sum of the inner loss over the layers of `(b, L + 1, d)` columns."""
        if any(column.dim() != 3 for column in columns):
            raise InputError("AdaptiveLayerLoss wants columns of (rows, layers, width)")

        def inner(layer: int) -> LossValue:
            rows = [column[:, layer] for column in columns]
            return self._inner.compute(rows, labels, *args, **context)

        last = columns[0].shape[1] - 1
        parts = [(self.last_layer_weight, inner(last))]
        layers = drawn(last, self.n_layers_per_step, in_order=False)
        for layer in layers:
            weight = self.prior_layers_weight * self.get_layer_weight(layer) / len(layers)
            parts.append((weight, inner(layer)))
        total = weighted_sum(parts)
        if not self.kl_temperature > 0:
            return total
        divergence = self._divergence(torch.cat([*columns]), layers)
        if isinstance(total, dict):
            return {**total, "kl_div": divergence}
        return total + divergence

    def get_layer_weight(self, layer_idx: int) -> float:
        """w(l) of a layer; 0 is the encoder's input embeddings."""
        if callable(self.layer_weighting):
            return self.layer_weighting(layer_idx)
        return _LAYER_WEIGHTS[self.layer_weighting](layer_idx)

    def _divergence(self, rows: Tensor, layers: Sequence[int]) -> Tensor:
        """How far the embeddings of the layers are from the last, read as distributions."""
        rows = full_precision(rows) / self.kl_temperature  # (n·b, L + 1, d)
        wanted = rows[:, -1].softmax(dim=-1).detach()
        found = [
            F.kl_div(rows[:, layer].log_softmax(dim=-1), wanted, reduction="batchmean")
            for layer in layers
        ]
        return self.kl_div_weight * self.kl_temperature * sum(found, rows.new_zeros(()))


class Matryoshka2dLoss(AdaptiveLayerLoss):
    """`AdaptiveLayerLoss` around `MatryoshkaLoss`: fewer layers, fewer dimensions; as these two."""

    def __init__(
        self,
        model: EmbeddingModel,
        loss: nn.Module,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        n_layers_per_step: int = 1,
        n_dims_per_step: int = 1,
        last_layer_weight: float = 1.0,
        prior_layers_weight: float = 1.0,
        kl_div_weight: float = 1.0,
        kl_temperature: float = 0.3,
        layer_weighting: LayerWeighting = "uniform",
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        inner = MatryoshkaLoss(model, loss, matryoshka_dims, matryoshka_weights, n_dims_per_step)
        weights = (last_layer_weight, prior_layers_weight, kl_div_weight)
        options = (n_layers_per_step, *weights, kl_temperature, layer_weighting)
        super().__init__(model, inner, *options, mini_batch_size=mini_batch_size)

    def settings(self) -> dict[str, Any]:
        """The settings of both, `loss` being the innermost."""
        return {**super().settings(), **self.loss.settings()}


def _layer_embeddings(model: Any, features: Features) -> Tensor:
    """The model's `layer_sentence_embeddings (b, L + 1, d)` of the features."""
    output = model(features, output_hidden_states=True)
    if "layer_sentence_embeddings" not in output:
        raise SettingError(_NO_LAYERS)
    return output["layer_sentence_embeddings"]


def _may_give_layers(module: nn.Module) -> bool:
    """Whether a module gives the embeddings of its layers, or may, as one of a user's own."""
    origin = type(module).forward.__module__.partition(".")[0]
    asks = getattr(module, "forward_kwargs", ())
    return origin not in ("sentune", "torch") or "output_hidden_states" in asks
