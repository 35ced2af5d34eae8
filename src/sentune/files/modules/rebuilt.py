"""Whether the encoder that would be loaded is the one that is saved.

A folder holds settings, and tensors by name. The modules are made of the settings, so a layer that
was cut, added, replaced or parametrized would be lost. The encoder of the settings is made without
memory, on the device "meta", and compared.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sentune.engine.tree import inner_of
from sentune.errors import SettingError
from sentune.files.modules import adapters

logger = logging.getLogger(__name__)

_LOST = "it cannot be saved, because another model would be loaded"
_MADE_WITHOUT = "pooler"  # where files lack it, an encoder is loaded without


def unwrapped(encoder: Any) -> Any:
    """What is saved of an encoder: what DataParallel, torch.compile or an accelerator wraps."""
    return encoder if adapters.is_wrapped(encoder) else inner_of(encoder)


def check(module: Any) -> None:
    """Raise if a Transformer would not be loaded as it is.

    Raises:
        SettingError: With the first difference, and what to do about it.
    """
    if module.is_deferred:  # nobody has looked at its encoder, so nobody has changed it
        return
    outside = [name for name in module.state_dict() if not name.startswith("auto_model.")]
    if outside:
        raise SettingError(
            f"{type(module).__name__} has the tensors {outside[:3]} beside its encoder: {_LOST}; "
            "put them into a module of their own, or give the class a `save` and a `load`"
        )
    encoder = unwrapped(module.auto_model)
    if not hasattr(encoder, "save_pretrained") or not hasattr(encoder, "config"):
        raise SettingError(
            f"the encoder is a {type(encoder).__name__} with no `config` or no `save_pretrained`: "
            f"{_LOST}; build the model of a module of your own with a `save` and a `load`"
        )
    if not adapters.has_adapter(encoder):
        _compare(encoder)


def _compare(encoder: Any) -> None:
    """Raise for the first difference between an encoder and the one of its configuration."""
    try:
        with torch.device("meta"):
            made = type(encoder)(copy.deepcopy(encoder.config))
    except Exception as error:  # whatever a class from elsewhere wants besides
        logger.debug("%s is saved unchecked: %s", type(encoder).__name__, error)
        return
    for difference in _differences(encoder, made):
        raise SettingError(f"the encoder differs from what its config says: {difference}; {_LOST}")


def _differences(encoder: nn.Module, made: nn.Module) -> Iterator[str]:
    layers, expected = dict(encoder.named_modules()), dict(made.named_modules())
    for name in [name for name in expected if name not in layers and _MADE_WITHOUT not in name]:
        yield f"there is no {name}, as after layers were cut; set num_hidden_layers of its config"
    for name in layers:
        if name.endswith(".parametrizations"):
            place = name.removesuffix(".parametrizations")
            yield (
                f"{place} is parametrized; torch.nn.utils.parametrize.remove_parametrizations "
                "makes it plain weights"
            )
    for name, layer in layers.items():
        if name not in expected and _MADE_WITHOUT not in name:
            yield f"{name} was added; set the config to what the encoder is"
        if name in expected and type(layer) is not type(expected[name]):
            yield (
                f"{name} is a {type(layer).__module__}.{type(layer).__qualname__} and not a "
                f"{type(expected[name]).__name__}"
            )
    own = {name: tuple(x.shape) for name, x in encoder.state_dict().items()}
    wanted = {name: tuple(x.shape) for name, x in made.state_dict().items()}
    for name, shape in own.items():
        if name.endswith(("_orig", "_mask")) and name not in wanted:
            yield f"{name} is pruned; torch.nn.utils.prune.remove makes it plain weights"
        if wanted.get(name, shape) != shape:
            yield f"{name} has the shape {shape} and not {wanted[name]}"
    for name in wanted.keys() - own.keys():
        if _MADE_WITHOUT not in name:
            yield f"there is no {name}"
