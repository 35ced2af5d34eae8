"""Several models of one descent -> one model, by a merge method of mergekit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sentune._lazy import need
from sentune.engine.deferred import is_quantized
from sentune.errors import InputTypeError, MissingDependencyError, SettingError
from sentune.files.modules.adapters import has_adapter, is_wrapped
from sentune.machine.device import as_dtype

# What a configuration says of the file that it came from, and not of the encoder.
_OF_FILES = ("architectures", "transformers_version", "torch_dtype", "dtype")


@torch.no_grad()
def merge_models(
    cls: type,
    models: Sequence[Any],
    method: str = "linear",
    *,
    base_model: str | Path | Any = None,
    parameters: Mapping[str, Any] | None = None,
    dtype: str | torch.dtype | None = torch.float32,
    out_dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    batch_options: Any = None,
    **load_kwargs: Any,
) -> Any:
    """What `cls.merge` gives; its arguments and errors are described there.

    Tensors that modules share are merged once, so that they stay shared.
    """
    methods = need("mergekit.merge_methods", "merge")
    if not hasattr(methods, "merge_state_dicts"):
        raise MissingDependencyError('merging needs mergekit 0.1.5; pip install "sentune[merge]"')
    if isinstance(models, (str, Path, nn.Module)) or len(models) < 2:
        raise SettingError("merge takes a list of two or more models, folders or ids on the Hub")
    chosen = _method(methods, method, base_model)
    inputs, base = _with_base(list(models), base_model, method)
    chosen.validate_inputs(list(range(len(inputs))), base)
    loaded = [_loaded(cls, one, device, load_kwargs) for one in inputs]
    for number, one in enumerate(loaded):
        _check_alike(loaded[0], one, number)
    options = dict(parameters or {})
    if any(one.name == "weight" for one in chosen.spec.parameters):
        options.setdefault("weight", 1.0)
    if method == "slerp":
        options.setdefault("t", 0.5)
    states = {number: _tensors(one, torch.device(device)) for number, one in enumerate(loaded)}
    merged = methods.merge_state_dicts(
        states,
        chosen,
        base=base,
        parameters=options,
        dtype=None if dtype is None else as_dtype(dtype),
        out_dtype=None if out_dtype is None else as_dtype(out_dtype),
        batch_options=batch_options,
    )
    return _with_weights(loaded[0], merged).to(device).eval()


def _method(methods: Any, name: str, base_model: Any) -> Any:
    """The merge method of a name."""
    try:
        found = methods.get(name)
    except (KeyError, ValueError, RuntimeError) as error:
        raise SettingError(f"there is no merge method {name!r}: {error}") from error
    if base_model is not None and found.spec.contract.base == methods.BasePolicy.IGNORED:
        raise SettingError(f"method={name!r} uses no base_model; leave it out")
    return found


def _with_base(inputs: list[Any], base: Any, method: str) -> tuple[list[Any], int | None]:
    """The models with the base among them, and its place there."""
    if base is None:
        return inputs, 0 if method == "slerp" else None
    for place, one in enumerate(inputs):
        are_names = isinstance(one, (str, Path)) and isinstance(base, (str, Path))
        if one is base or (are_names and str(one) == str(base)):
            return inputs, place
    return [*inputs, base], len(inputs)


def _loaded(cls: type, model: Any, device: Any, options: Mapping[str, Any]) -> Any:
    if isinstance(model, (str, Path)):
        return cls(str(model), device=device, **options)
    if not isinstance(model, cls):
        raise InputTypeError(
            f"merge takes models of type {cls.__name__}, folders or ids; got {type(model).__name__}"
        )
    return model


def _check_alike(first: Any, other: Any, number: int) -> None:
    """Raise if two models differ in more than the values of their weights."""
    parts, others = dict(first.named_modules()), dict(other.named_modules())
    if parts.keys() != others.keys():
        odd = sorted(parts.keys() ^ others.keys())
        raise SettingError(f"model {number} has other modules than model 0: {odd[:3]}")
    for name, part in others.items():
        if has_adapter(part) or is_wrapped(part):
            raise SettingError(
                f"model {number} has an adapter; merge it into the weights first, as with "
                "model[0].auto_model = peft_model.merge_and_unload()"
            )
        wanted, found = _described(parts[name]), _described(part)
        if wanted != found:
            odd = [key for key in {*wanted, *found} if wanted.get(key) != found.get(key)]
            raise SettingError(
                f"model {number} differs from model 0 in {sorted(odd)} of its module {name!r}; "
                "only models with equal settings and tokenizers can be merged"
            )
    if is_quantized(other):
        raise SettingError(f"model {number} is quantised; merge models before that")
    shapes, found = (
        {name: (tensor.shape, tied) for name, (tensor, tied) in _entries(one).items()}
        for one in (first, other)
    )
    if shapes != found:
        odd = sorted(k for k in {*shapes, *found} if shapes.get(k) != found.get(k))
        raise SettingError(f"model {number} has weights of other shapes than model 0: {odd[:3]}")


def _described(module: nn.Module) -> dict[str, Any]:
    """What must be the same in a module for its weights to mean the same."""
    found: dict[str, Any] = {"type": type(module), "extra_repr": module.extra_repr()}
    settings = getattr(module, "settings", None)
    if callable(settings):
        found |= settings()
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_dict"):
        known = config.to_dict().items()
        found |= {k: v for k, v in known if k not in _OF_FILES and not k.startswith("_")}
    tokenizer: Any = getattr(module, "tokenizer", None)
    if hasattr(tokenizer, "get_vocab"):
        found["vocabulary"] = tokenizer.get_vocab()
        found["special tokens"] = getattr(tokenizer, "special_tokens_map", None)
    return found


def _entries(model: nn.Module) -> dict[str, tuple[Tensor, str]]:
    """Name -> tensor, and the first name that the same tensor has."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: (tensor, first.setdefault(id(tensor), name)) for name, tensor in state.items()}


def _tensors(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """The tensors of a model, each once."""
    found = _entries(model).items()
    return {name: x.detach().to(device) for name, (x, own) in found if own == name}


def _with_weights(model: Any, tensors: dict[str, Tensor]) -> Any:
    """A copy of a model with other tensors, without what is known of how it was trained."""
    kept: dict[int, Any] = {}
    for tensor, own in _entries(model).values():
        if id(tensor) not in kept:
            value: Any = tensors.pop(own).clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            is_trained = tensor.requires_grad
            kept[id(tensor)] = nn.Parameter(value, is_trained) if is_parameter else value
    kept[id(model.model_card_data)] = type(model.model_card_data)()
    merged = deepcopy(model, kept)
    merged.model_card_data.register_model(merged)
    return merged
