"""The modules of a model, one after the other: in which layout, with which arguments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sentune.encoder import outputs
from sentune.engine import packing
from sentune.engine.deferred import type_of
from sentune.errors import InputError, SettingError
from sentune.models.base import (
    accepts,
    gives_ragged,
    prompted,
    read_by,
    reader_of,
    reads_packed,
    tokenizer_of,
)
from sentune.models.router import Router
from sentune.tables import rows_of
from sentune.text import inputs, layouts
from sentune.types import Features, Text

_SENTENCE, _LAYERS = "sentence_embedding", "layer_sentence_embeddings"


def named(
    modules: Iterable[nn.Module] | Mapping[str, nn.Module] | None,
) -> OrderedDict[str, nn.Module]:
    """Modules under their names; "0", "1" ... where they have none."""
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


def is_packed(model: nn.Sequential) -> bool:
    """Whether the model and every module read the packed layout, so that nothing is padded."""
    return reads_packed(model) and all(map(reads_packed, model))


def run(model: nn.Sequential, features: Features, kwargs: Mapping[str, Any]) -> Features:
    """New features with all that the modules add; ragged ones are packed or padded first."""
    found = list(parts(model, features, kwargs))
    if not layouts.is_ragged(features) or is_packed(model):
        return found[0][1]
    return {**features, **outputs.joined(found, outputs.kinds_of(model))}


def parts(
    model: nn.Sequential, features: Features, kwargs: Mapping[str, Any]
) -> Iterator[tuple[list[int], Features]]:
    """Row numbers of a batch, and what the modules give for them: once, if nothing is padded."""
    rows = range(layouts.rows_in(features))
    if not layouts.is_ragged(features):
        yield list(rows), _through(model, features, kwargs)
    elif is_packed(model):
        yield list(rows), _through(model, packing.pack(features), kwargs)
    else:  # rows of like length together; a `forward` or a hook of the user's sees them padded
        for some in list(layouts.length_buckets(features["lengths"])) or [[]]:
            yield some, model(pad(model, layouts.select(features, some)), **kwargs)


def fill(model: nn.Sequential, features: Features, kwargs: Mapping[str, Any]) -> Features:
    """Padded features, filled with all that the modules add: the same dict."""
    if not _is_traced() and is_packed(model) and layouts.can_be_ragged(features):
        found = run(model, packing.from_padded(features), kwargs)
        features.update(outputs.padded_like(found, features, outputs.kinds_of(model)))
    else:
        features.update(_through(model, features, kwargs))
    return features


def read(
    modules: nn.Sequential,
    texts: Sequence[Text],
    prompt: str | None = None,
    task: str | None = None,
) -> Features:
    """Tokens of b texts, ragged where the first module can; what a collator calls.

    `prompt` is put before each text; `task` is the route of a routed model.
    """
    first = _source_of(modules)
    if gives_ragged(first):
        _check_routes(first, texts)
    return _routed(modules, read_by(first, texts, prompt, task), task)


def tokenize(
    modules: nn.Sequential,
    texts: Sequence[Text],
    prompt: str | None = None,
    task: str | None = None,
    **kwargs: Any,
) -> Features:
    """Padded tensors of b texts, as other libraries expect them: `input_ids (b, t)` ..."""
    first: Any = modules[0]
    reader = tokenizer_of(first)
    if gives_ragged(first):
        inputs.check_items(rows_of(texts, "texts"))
        _check_routes(first, texts)
    texts, extra = prompted(reader, texts, prompt)
    # Collators name a task, if only None, also where no module asks for one.
    if task is not None and isinstance(first, Router):
        extra["task"] = task
    features = reader(texts, **extra, **kwargs)
    return _routed(modules, features, task)


def pad(modules: nn.Sequential, features: Features) -> Features:
    """The padded layout of ragged features, as the first module pads."""
    first: Any = modules[0]
    return first.pad(features) if hasattr(first, "pad") else packing.pad(features)


def output(modules: nn.Sequential, features: Features, name: str) -> torch.Tensor:
    """What the modules gave out under a name; a SettingError if there is none."""
    if name not in features:
        raise SettingError(
            f"the modules {[type(module).__name__ for module in modules]} give no {name!r}; "
            "add one that does, as models.Pooling(width) behind a Transformer"
        )
    return features[name]


def width(modules: nn.Sequential) -> int | None:
    """Width of the embeddings that the modules give; None if none of them knows."""
    widths = (_dimension(module) for module in reversed(list(modules)))
    return next((width for width in widths if width is not None), None)


def follow_first(modules: Iterable[nn.Module]) -> None:
    """Bring the modules behind an encoder, also in the routes of a router, to its dtype."""
    first, *later = modules
    if isinstance(first, Router):
        for route in first.sub_modules.values():
            follow_first(route)  # type: ignore[arg-type]
    found = type_of(first)
    if found not in (None, torch.float32):
        for module in later:
            module.to(found)


def in_type_of(dtype: torch.dtype | None, features: Features) -> Features:
    """Features with outputs in float32 if the weights' `dtype` is that; the dict is changed."""
    if dtype == torch.float32:
        features.update({key: _in_full(value) for key, value in features.items()})
    return features


def takes(module: nn.Module, name: str) -> bool:
    """Whether the module's `forward` takes a keyword argument of this name."""
    return name in getattr(module, "forward_kwargs", ())


def _routed(modules: nn.Sequential, features: Features, task: str | None) -> Features:
    """Features of texts with what a router further on chooses by: the task, and the modality."""
    known = {"task": task, "modality": "text"}
    labels = {
        name: label
        for name, label in known.items()
        if label is not None and any(takes(module, name) for module in modules)
    }
    return {**labels, **features}


def _is_traced() -> bool:
    """Whether the calls are traced, so that the lengths of rows would become constants."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def _dimension(module: nn.Module) -> int | None:
    """Width of the embedding that a module gives out, by whichever name it has for that."""
    for kind in ("embedding", "sentence_embedding", "word_embedding"):
        method = getattr(module, f"get_{kind}_dimension", None)
        if callable(method):
            return method()
    return None


def _in_full(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_in_full, value))
    is_half = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if is_half else value


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


def _apply(modules: Iterable[nn.Module], features: Features, kwargs: Mapping[str, Any]) -> Features:
    """The modules one after the other, each with the keyword arguments that it takes."""
    if "task" in features:
        kwargs = {"task": features["task"], **kwargs}
    for module in modules:
        features = module(features, **{k: v for k, v in kwargs.items() if takes(module, k)})
    return features


def reads_ragged(modules: nn.Sequential) -> bool:
    """Whether a model gives tokens in the ragged layout."""
    return gives_ragged(_source_of(modules))


def _source_of(modules: nn.Sequential) -> Any:
    """What reads the texts of a model: its first module, or a subclass of the model itself."""
    own = reader_of(modules)
    return modules[0] if own is None or own.__name__ == "read" else modules


def _check_routes(first: Any, texts: Sequence[Text]) -> None:
    """Raise if a text names a route and the module that reads it knows of none."""
    if set(map(type, texts)) <= {str, tuple, list} or accepts(first.read, "task"):
        return
    for row, text in enumerate(texts):
        if isinstance(text, Mapping):
            raise InputError(
                f"row {row} names the route {next(iter(text))!r}, but {type(first).__name__} has "
                "no routes; give the text alone, or build the model with models.Router"
            )
