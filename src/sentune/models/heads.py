"""Small modules on top of an embedding: Dense, Normalize, LayerNorm, Dropout.

All work on the last axis, so they take `(b, d)`, `(b, t, d)` and packed `(T, d)` alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sentune.checks import check_positive, check_share
from sentune.errors import SettingError
from sentune.models import activations
from sentune.models.activations import TANH, Activation
from sentune.models.base import PER_ROW, PER_TOKEN, Module, take
from sentune.types import Features, OutputKind

SENTENCE = "sentence_embedding"
T = TypeVar("T", bound="Dense")
N = TypeVar("N", bound="Normalize")
_KINDS: Mapping[str, OutputKind] = {**PER_ROW, **PER_TOKEN}


class Dense(Module):
    """`activation(x @ weight.T + bias)`, optionally with `x` added again.

    Args:
        in_features: Width read.
        out_features: Width given.
        bias: Whether to add a bias.
        activation_function: A callable, the dotted name of a class in `torch.nn`, or None for
            none. A class of `torch.nn`, or a function of torch that there is a class for, can be
            saved.
        init_weight: `(out_features, in_features)` to start from.
        init_bias: `(out_features,)` to start from.
        module_input_name: Key of the features to read.
        module_output_name: Key to write; None to replace what was read.
        use_residual: Whether to add the input to the result, through a second matrix where
            the two widths differ.
        activation_kwargs: Arguments for an activation that is given by its name.
    """

    reads_packed = True
    config_keys = [
        *("in_features", "out_features", "bias", "activation_function"),
        *("module_input_name", "module_output_name", "use_residual"),
    ]

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation_function: Activation | str | None = TANH,
        init_weight: Tensor | None = None,
        init_bias: Tensor | None = None,
        module_input_name: str = SENTENCE,
        module_output_name: str | None = None,
        use_residual: bool = False,
        activation_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.bias = bias
        self.activation_function = activations.made(
            activation_function, **(activation_kwargs or {})
        )
        self.module_input_name = module_input_name
        self.module_output_name = module_output_name or module_input_name
        self.use_residual = use_residual
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        if use_residual and in_features != out_features:
            self.residual = nn.Linear(in_features, out_features, bias=False)
        if init_weight is not None:
            _start_from(self.linear.weight, init_weight, "init_weight")
        if init_bias is not None and bias:
            _start_from(self.linear.bias, init_bias, "init_bias")

    @classmethod
    def load(  # type: ignore[override]  # the order of sentence-transformers
        cls: type[T],
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> T:
        """A Dense of the files in a folder; arguments as of `Module.load`.

        Args:
            model_name_or_path: The model's folder, or its id on the Hub.
            subfolder: The module's folder in it.
            token: Access token for the Hub.
            cache_folder: Where downloads are kept.
            revision: Branch, tag or commit.
            local_files_only: Never ask the Hub.
            trust_remote_code: Whether the activation may be of a package outside of torch.
            init_defaults: Arguments for the constructor that the file may lack.
            **kwargs: For subclasses.
        """
        access = (token, cache_folder, revision, local_files_only, init_defaults)
        options = {"trust_remote_code": trust_remote_code, **kwargs}
        return super().load(model_name_or_path, subfolder, *access, **options)

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """The features with the projected embedding."""
        x = take(features, self.module_input_name, self, self.in_features)
        out = self.activation_function(self.linear(x))
        if self.use_residual:
            out = out + (x if self.in_features == self.out_features else self.residual(x))
        return {**features, self.module_output_name: out}

    @property
    def outputs(self) -> Mapping[str, OutputKind]:  # type: ignore[override]
        """Of the kind that it reads."""
        return {self.module_output_name: _KINDS.get(self.module_input_name, "row")}

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments; `module_*_name` and `use_residual` only where not default.

        Readers of older files refuse names they do not know.
        """
        own = {name: getattr(self, name) for name in Dense.config_keys[:3]}
        settings = {**own, **activations.shown(self.activation_function)}
        settings |= _names(self.module_input_name, self.module_output_name)
        if self.use_residual:
            settings["use_residual"] = True
        return settings

    def get_embedding_dimension(self) -> int:
        """Width given."""
        return self.out_features


class LogitScore(Module):
    """A score from what a causal language model would say next: yes or no.

    score = logit(true token) - logit(false token), the log-odds of the two.

    Args:
        true_token_id: Of the token that means yes.
        false_token_id: Of the token that means no; None for the logit of yes alone.
        module_input_name: Key of the logits `(b, t, v)`; those of the last position are read.
    """

    outputs: Mapping[str, OutputKind] = {"scores": "row"}
    config_keys = ["true_token_id", "false_token_id", "module_input_name"]

    def __init__(
        self,
        true_token_id: int,
        false_token_id: int | None = None,
        module_input_name: str = "causal_logits",
    ) -> None:
        super().__init__()
        self.true_token_id = true_token_id
        self.false_token_id = false_token_id
        self.module_input_name = module_input_name

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """The features with `scores (b, 1)`."""
        logits = take(features, self.module_input_name, self)[:, -1]
        scores = logits[:, self.true_token_id]
        if self.false_token_id is not None:
            scores = scores - logits[:, self.false_token_id]
        return {**features, "scores": scores[:, None]}


class Normalize(Module):
    """The embedding scaled to length 1; a zero vector stays zero.

    Args:
        module_input_name: Key of the features to read. Features without it pass unchanged.
        module_output_name: Key to write; None to replace what was read.
    """

    reads_packed = True
    config_keys = ["module_input_name", "module_output_name"]

    @classmethod
    def load(
        cls: type[N],
        model_name_or_path: str = "",
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> N:
        """A Normalize; without a folder, as older releases call it, one with its defaults.

        Args:
            model_name_or_path: The model's folder, or its id on the Hub; all arguments are as of
                `Module.load`.
            subfolder: The module's folder in it.
            token: Access token for the Hub.
            cache_folder: Where downloads are kept.
            revision: Branch, tag or commit.
            local_files_only: Never ask the Hub.
            init_defaults: Arguments for the constructor that the file may lack.
            **kwargs: For subclasses.
        """
        if not model_name_or_path:
            return cls(**(init_defaults or {}))
        access = (token, cache_folder, revision, local_files_only, init_defaults)
        return super().load(model_name_or_path, subfolder, *access, **kwargs)

    def __init__(
        self, module_input_name: str = SENTENCE, module_output_name: str | None = None
    ) -> None:
        super().__init__()
        self.module_input_name = module_input_name
        self.module_output_name = module_output_name or module_input_name

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """The features with the scaled embedding."""
        x = features.get(self.module_input_name)
        if x is None:
            return features
        return {**features, self.module_output_name: F.normalize(x, p=2, dim=-1)}

    @property
    def outputs(self) -> Mapping[str, OutputKind]:  # type: ignore[override]
        """Of the kind that it reads."""
        return {self.module_output_name: _KINDS.get(self.module_input_name, "row")}

    def settings(self) -> dict[str, Any]:
        """The names read and written, where not default."""
        return _names(self.module_input_name, self.module_output_name)


class LayerNorm(Module):
    """The sentence embedding, its entries brought to mean 0 and variance 1, scaled and shifted."""

    reads_packed = True
    outputs = PER_ROW
    config_keys = ["dimension"]

    def __init__(self, dimension: int) -> None:
        super().__init__()
        check_positive(dimension=dimension)
        self.dimension = dimension
        self.norm = nn.LayerNorm(dimension)

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """The features with the normalised embedding."""
        return {**features, SENTENCE: self.norm(take(features, SENTENCE, self, self.dimension))}

    def get_embedding_dimension(self) -> int:
        """Width of the embedding."""
        return self.dimension


class Dropout(Module):
    """The sentence embedding with a share of its entries, 0 to 1, dropped at random in training."""

    reads_packed = True
    outputs = PER_ROW
    config_keys = ["dropout"]

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        check_share(dropout=dropout)
        self.dropout = dropout
        self.dropout_layer = nn.Dropout(dropout)

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """The features with the thinned embedding."""
        return {**features, SENTENCE: self.dropout_layer(take(features, SENTENCE, self))}


def _names(module_input_name: str, module_output_name: str) -> dict[str, Any]:
    """The two names as settings, as far as they are not the default."""
    settings = {}
    if module_input_name != SENTENCE:
        settings["module_input_name"] = module_input_name
    if module_output_name != module_input_name:
        settings["module_output_name"] = module_output_name
    return settings


def _start_from(parameter: Tensor, values: Tensor, name: str) -> None:
    """Copy values into a parameter; SettingError if the shapes differ."""
    if values.shape != parameter.shape:
        raise SettingError(
            f"{name} must have shape {tuple(parameter.shape)}, got {tuple(values.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(values)
