"""The modules of a model, one after the other: in which layout, with which arguments."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sentune.engine import packing
from sentune.engine.deferred import weights_of
from sentune.errors import InputError, SettingError
from sentune.models.router import Router
from sentune.text import inputs, layouts
from sentune.types import Features, Text

_SENTENCE, _LAYERS = "sentence_embedding", "layer_sentence_embeddings"


def named(
    modules: Iterable[nn.Module] | Mapping[str, nn.Module] | None,
) -> OrderedDict[str, nn.Module]:
    """Modules under their names; "0", "1" ... where they have none.

    Raises:
        SettingError: If there are none, or something else is among them.
    """
    if isinstance(modules, nn.Module) and not isinstance(modules, Iterable):
        raise SettingError(
            f"modules must be a list of modules, got one {type(modules).__name__}; "
            f"write modules=[...] even for one"
        )
    if isinstance(modules, Mapping):
        result = OrderedDict(modules)
    else:
        result = OrderedDict((str(index), module) for index, module in enumerate(modules or ()))
    if not result:
        raise SettingError("modules is empty; a model needs at least one module")
    wrong = [type(m).__name__ for m in result.values() if not isinstance(m, nn.Module)]
    if wrong:
        raise SettingError(f"modules must be torch modules, got {wrong}")
    return result


def is_packed(modules: nn.Sequential) -> bool:
    """Whether every module reads the packed layout, so that nothing is ever padded."""
    return all(map(_reads_packed, modules))


def run(modules: nn.Sequential, features: Features, kwargs: Mapping[str, Any]) -> Features:
    """The features with all that the modules add; ragged ones are packed or padded first.

    Args:
        modules: The modules in order.
        features: Tokens in any layout of `sentune.text.layouts`.
        kwargs: Keyword arguments, each for the modules that take it.
    """
    if not layouts.is_ragged(features):
        return _through(modules, features, kwargs)
    if is_packed(modules):
        return _through(modules, packing.pack(features), kwargs)
    return _in_buckets(modules, features, kwargs)


def read(
    modules: nn.Sequential, texts: Sequence[Text], prompt: str | None, task: str | None
) -> Features:
    """Tokens of the texts, ragged where the first module can.

    Args:
        modules: The modules in order.
        texts: b texts.
        prompt: Put before each text.
        task: Route of a routed model.
    """
    first: Any = modules[0]
    reader = getattr(first, "read", None) or _tokenizer_of(first)
    extra = {"task": task} if task is not None and _accepts(reader, "task") else {}
    if hasattr(first, "read"):
        _check_routes(first, texts)
        features = first.read(texts, prompt=prompt, **extra)
    else:
        if prompt:
            texts = [inputs.with_prefix(text, prompt) for text in texts]
        features = tokenize(modules, texts, **extra)
    if task is not None and any(takes(module, "task") for module in modules):
        features = {"task": task, **features}  # a router further on chooses by it
    return features


def tokenize(modules: nn.Sequential, texts: Sequence[Text], **kwargs: Any) -> Features:
    """Padded tensors of the texts, by whichever name the first module has for it."""
    if hasattr(modules[0], "read"):
        inputs.check_items(list(texts))
        _check_routes(modules[0], texts)
    return _tokenizer_of(modules[0])(texts, **kwargs)


def pad(modules: nn.Sequential, features: Features) -> Features:
    """The padded layout of ragged features, as the first module pads."""
    first: Any = modules[0]
    return first.pad(features) if hasattr(first, "pad") else packing.pad(features)


def sentence_embedding(modules: nn.Sequential, features: Features) -> torch.Tensor:
    """The embeddings that the modules gave out, `(b, d)`.

    Args:
        modules: The modules in order, for the error.
        features: What they gave out.

    Raises:
        SettingError: If no embeddings are among it.
    """
    if _SENTENCE not in features:
        raise SettingError(
            f"the modules {[type(module).__name__ for module in modules]} give no {_SENTENCE!r}; "
            "add one that does, as models.Pooling(width) behind a Transformer"
        )
    return features[_SENTENCE]


def follow_first(modules: Iterable[nn.Module]) -> None:
    """Bring the modules behind an encoder to its type of numbers, where it was loaded in another.

    Args:
        modules: The modules in order; those in the routes of a router are seen to as well.
    """
    first, *later = modules
    if isinstance(first, Router):
        for route in first.sub_modules.values():
            follow_first(route)  # type: ignore[arg-type]
    types = (x.dtype for x in weights_of(first) if x.is_floating_point())
    found = next(types, torch.float32)
    if found != torch.float32:
        for module in later:
            module.to(found)


def takes(module: nn.Module, name: str) -> bool:
    """Whether the module's `forward` takes a keyword argument of this name."""
    return name in getattr(module, "forward_kwargs", ())


def dimension(module: nn.Module) -> int | None:
    """Width of the embedding that a module gives out, by whichever name it tells it."""
    for name in (
        "get_embedding_dimension",
        "get_sentence_embedding_dimension",
        "get_word_embedding_dimension",
    ):
        method = getattr(module, name, None)
        if callable(method):
            return method()
    return None


def _through(modules: nn.Sequential, features: Features, kwargs: Mapping[str, Any]) -> Features:
    """All modules; if all hidden states are asked for, the later ones for each layer too."""
    first, *later = modules
    features = _apply([first], features, kwargs)
    result = _apply(later, features, kwargs)
    layers = features.get("all_layer_embeddings")
    if layers is None or not kwargs.get("output_hidden_states") or _SENTENCE not in result:
        return result
    earlier = [
        _apply(later, {**features, "token_embeddings": tokens}, kwargs)[_SENTENCE]
        for tokens in layers[:-1]
    ]
    return {**result, _LAYERS: torch.stack([*earlier, result[_SENTENCE]], dim=1)}


def _in_buckets(modules: nn.Sequential, features: Features, kwargs: Mapping[str, Any]) -> Features:
    """Pad rows of like length together; for models with a module that needs padding."""
    parts, order = [], []
    for rows in layouts.length_buckets(features["lengths"]):
        padded = pad(modules, layouts.select(features, rows))
        parts.append(_through(modules, padded, kwargs))
        order += rows
    if not parts:
        return _through(modules, pad(modules, features), kwargs)
    index = torch.tensor(order, device=sentence_embedding(modules, parts[0]).device)
    joined = {
        key: packing.to_caller_order(torch.cat([part[key] for part in parts]), index)
        for key in (_SENTENCE, _LAYERS)
        if key in parts[0]
    }
    return {**features, **joined}


def _apply(modules: Iterable[nn.Module], features: Features, kwargs: Mapping[str, Any]) -> Features:
    """The modules one after the other, each with the keyword arguments that it takes."""
    if "task" in features:
        kwargs = {"task": features["task"], **kwargs}
    for module in modules:
        features = module(features, **{k: v for k, v in kwargs.items() if takes(module, k)})
    return features


def _reads_packed(module: nn.Module) -> bool:
    """Whether a module reads the packed layout; not one that computes in a way of its own.

    A subclass with a `forward` of its own, or a listener, expects the padded layout unless its
    class says otherwise.
    """
    own = module.__dict__
    if "forward" in own or own["_forward_hooks"] or own["_forward_pre_hooks"]:
        return False
    classes = type(module).__mro__
    place = {
        name: next((i for i, kind in enumerate(classes) if name in vars(kind)), len(classes))
        for name in ("forward", "reads_packed")
    }
    is_told = place["reads_packed"] <= place["forward"]
    return is_told and bool(getattr(module, "reads_packed", False))


def _tokenizer_of(module: Any) -> Callable[..., Features]:
    found = getattr(module, "tokenize", None) or getattr(module, "preprocess", None)
    if found is None:
        raise SettingError(
            f"the first module must turn texts into tokens, and {type(module).__name__} does not "
            "read texts; begin the model with one that does, as models.Transformer(...)"
        )
    return found


def _check_routes(first: Any, texts: Sequence[Text]) -> None:
    """Raise if a text names a route and the module that reads it knows of none."""
    if set(map(type, texts)) <= {str, tuple, list} or _accepts(first.read, "task"):
        return
    for row, text in enumerate(texts):
        if isinstance(text, Mapping):
            raise InputError(
                f"row {row} names the route {next(iter(text))!r}, but {type(first).__name__} has "
                "no routes; give the text alone, or build the model with models.Router"
            )


def _accepts(function: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(function).parameters
