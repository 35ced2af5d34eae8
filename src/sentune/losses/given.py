"""A loss of the user's own, run on embeddings that are there already.

Such a loss calls its model in `forward`. For the time of one call, a stand-in that looks the
embeddings up takes the model's place in the loss and in the losses inside it; the model itself is
left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from sentune.engine import packing
from sentune.errors import SettingError
from sentune.text import layouts
from sentune.types import Features

EMBEDDING = "sentence_embedding"


def is_foreign(thing: Any) -> bool:
    """Whether a class or method was defined outside of this library."""
    return thing.__module__.partition(".")[0] != __name__.partition(".")[0]


def is_users(thing: Any, name: str) -> bool:
    """Whether a method was defined outside of this library."""
    return is_foreign(getattr(thing, name))


def holders_of(loss: nn.Module, model: Any) -> list[tuple[nn.Module, str]]:
    """Which modules in a loss hold the model, and under which name."""
    inside = set(map(id, model.modules())) if isinstance(model, nn.Module) else set()
    outside = [module for module in loss.modules() if id(module) not in inside]
    return [
        (module, name)
        for module in outside
        for name, child in module._modules.items()
        if child is model
    ]


def run_on(
    loss: nn.Module,
    model: Any,
    features: Sequence[Features],
    columns: Sequence[Tensor],
    labels: Tensor | None,
) -> Any:
    """What a loss makes of padded features whose embeddings are the columns, `(b, d)` each."""
    given = [{**one, EMBEDDING: rows} for one, rows in zip(features, columns, strict=True)]
    with _in_place_of(model, holders_of(loss, model), _Given(model)):
        return loss(given, labels)


def padded(model: Any, features: Features) -> Features:
    """The features in the layout that losses of users read."""
    if not layouts.is_ragged(features):
        return features
    return model.pad(features) if hasattr(model, "pad") else packing.pad(features)


class _Given(nn.Module):
    """A model for features that hold their embedding; of other features the model's own answer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = (model,)  # no part of this module

    def forward(self, features: Features, **kwargs: Any) -> Features:
        if EMBEDDING not in features:
            return self._model[0](features, **kwargs)
        return _Output(features)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_model"][0], name)

    def __getitem__(self, place: Any) -> Any:
        return self._model[0][place]

    def __len__(self) -> int:
        return len(self._model[0])


class _Output(dict):
    """Features with an embedding, and nothing else that a model gives out."""

    def __missing__(self, name: str) -> Any:
        raise SettingError(
            f"inside a loss that wraps it, a loss can read {EMBEDDING!r} only, and not {name!r}"
        )


@contextmanager
def _in_place_of(
    model: Any, holders: Sequence[tuple[nn.Module, str]], stand_in: nn.Module
) -> Iterator[None]:
    try:
        for module, name in holders:
            module._modules[name] = stand_in
        yield
    finally:
        for module, name in holders:
            module._modules[name] = model


def scalar(value: Any, source: str) -> Tensor:
    """The value of a loss as `()`; SettingError unless it is one number that can be trained on."""
    if isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point():
        return value.reshape(())
    got = f"a {type(value).__name__}"
    cure = "return a tensor of one number, or a dict of them by name"
    if isinstance(value, Tensor):
        got = f"{str(value.dtype).removeprefix('torch.')} numbers of shape {tuple(value.shape)}"
        cure = "return their mean() or sum()"
    elif isinstance(value, (tuple, list)):
        cure = "return the loss alone, without what it was computed from"
    raise SettingError(f"a loss must be one number; {source} gives {got}: {cure}")


def checked(value: Any, source: str) -> Tensor | dict[str, Tensor]:
    """What a loss gives, each number as `()`; SettingError unless all are numbers."""
    if not isinstance(value, Mapping) or not value:
        return scalar(value, source)
    return {name: scalar(part, f"{source}, {name!r}") for name, part in value.items()}
