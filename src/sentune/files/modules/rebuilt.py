"""Whether the encoder that would be loaded is the one that is saved.

A folder holds settings, and tensors by name. The modules are made of the settings, so a layer that
was cut, added, replaced or parametrized would be lost. The encoder of the settings is made without
memory, on the device "meta", and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sentune.engine import tasks
from sentune.engine.tree import class_of, inner_of
from sentune.errors import SettingError
from sentune.files.modules import adapters

_LOST = "it cannot be saved, because another model would be loaded"
_LAYERS = "set num_hidden_layers of its config"
# What settings decide of a module, and what changes its results. Dropout rates do not: they act in
# training alone.
_DECIDED = (
    *("num_attention_heads", "num_heads", "n_heads", "attention_head_size", "head_dim"),
    *("eps", "variance_epsilon", "scaling", "approximate", "negative_slope"),
)
# What accelerate leaves beside a `forward` that it puts around a module's own.
_AROUND_FORWARD = {"_hf_hook", "_original_forward"}
# Last parts of a weight's name, what they come from, and what makes a plain weight of them.
_PARTS = (
    ({"_orig", "_mask"}, "pruned; torch.nn.utils.prune.remove makes it plain weights"),
    ({"_g", "_v"}, "weight-normalised; torch.nn.utils.remove_weight_norm makes it plain weights"),
)


def unwrapped(encoder: Any) -> Any:
    """What is saved of an encoder: what DataParallel, torch.compile or an accelerator wraps."""
    with_adapter = (one for one in encoder.modules() if adapters.is_wrapped(one))
    return next(with_adapter, inner_of(encoder))


def check(module: Any) -> None:
    """Raise a SettingError with the first difference if a Transformer would not be loaded as is."""
    if module.is_deferred:  # nobody has looked at its encoder, so nobody has changed it
        _check_beside(module, {**module._parameters, **module._buffers}, set())
        return
    wrapped = unwrapped(module.auto_model)
    _check_beside(module, dict(_tensors(module)), {id(x) for _, x in _tensors(wrapped)})
    encoder = adapters.plain(wrapped)
    if not hasattr(encoder, "save_pretrained") or not hasattr(encoder, "config"):
        raise SettingError(
            f"the encoder is a {type(encoder).__name__} with no `config` or no `save_pretrained`: "
            f"{_LOST}; build the model of a module of your own with a `save` and a `load`"
        )
    for difference in _differences(wrapped, encoder, module.transformer_task):
        raise SettingError(f"the encoder differs from what its config says: {difference}; {_LOST}")


def _check_beside(module: Any, tensors: Mapping[str, Any], written: set[int]) -> None:
    """Raise for tensors that are not the encoder's: of a subclass, or of what wraps the encoder."""
    beside = [name for name, x in tensors.items() if x is not None and id(x) not in written]
    if beside:
        raise SettingError(
            f"{type(module).__name__} has the tensors {beside[:3]} beside its encoder: {_LOST}; "
            "put them into a module of their own, or give the class a `save` and a `load`"
        )


def _differences(wrapped: Any, encoder: Any, task: str) -> Iterator[str]:
    """What differs in the encoder of the settings, the most useful to know first."""
    from sentune.engine import encoders

    try:
        made = encoders.on_meta(encoder, task)
    except Exception as error:  # the loader would meet it as well
        yield f"no encoder can be made of its config ({error}); set it to what the encoder is"
        return
    if made is None:
        return
    # Without a head, what the library's pooler gives is not used, and files may lack it.
    is_unused = _of_pooler if task == tasks.FEATURES else (lambda name: False)
    parts = [dict(one.named_modules()) for one in (encoder, made)]
    tensors = [encoder.state_dict(), made.state_dict()]
    if adapters.has_adapter(wrapped):  # their layers are in the places of the encoder's
        parts, tensors[0] = [{}, {}], adapters.base_tensors(wrapped)
    layers, wanted = ({n: x for n, x in found.items() if not is_unused(n)} for found in parts)
    own, expected = ({n: x for n, x in found.items() if not is_unused(n)} for found in tensors)
    yield from _of_layers(layers, wanted)
    yield from _of_tensors(own, expected)
    if layers:
        yield from _of_ties(_ties(encoder), _ties(made))


def _of_pooler(name: str) -> bool:
    return "pooler" in name.split(".")


def _of_layers(layers: Mapping[str, nn.Module], wanted: Mapping[str, nn.Module]) -> Iterator[str]:
    """How the modules of two encoders differ, by name."""
    if layers and class_of(layers[""]) is not class_of(wanted[""]):
        yield _of_class("model", layers[""], wanted[""])
    for name in wanted:
        if name not in layers:
            yield f"there is no {name}, as after layers were cut; {_LAYERS}"
    for name in layers:
        if name.endswith(".parametrizations"):
            place = name.removesuffix(".parametrizations")
            yield (
                f"{place} is parametrized; torch.nn.utils.parametrize.remove_parametrizations "
                "makes it plain weights"
            )
    for name, layer in layers.items():
        if name not in wanted:
            yield f"{name} was added; set the config to what the encoder is"
        elif class_of(layer) is not class_of(wanted[name]):
            yield _of_class(name, layer, wanted[name])
        else:
            yield from _of_layer(name, layer, wanted[name])


def _of_class(name: str, layer: nn.Module, wanted: nn.Module) -> str:
    kind, other = class_of(layer), class_of(wanted)
    return f"{name} is a {kind.__module__}.{kind.__qualname__} and not a {other.__name__}"


def _of_layer(name: str, layer: nn.Module, wanted: nn.Module) -> Iterator[str]:
    """How two modules of one class differ in what is neither a module nor a tensor."""
    if "forward" in layer.__dict__ and not _AROUND_FORWARD & layer.__dict__.keys():
        yield f"{name or 'model'} has a `forward` of its own; let a hook do what it does"
    # Of a table of positions, it says where they begin; of others, nothing that shows.
    decided = (*_DECIDED, "padding_idx") if "position" in name else _DECIDED
    for key in decided:
        value, other = getattr(layer, key, None), getattr(wanted, key, None)
        if not isinstance(value, Tensor) and value != other:
            yield f"{name} has {key}={value}, and {other} by its config"


def _of_tensors(own: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """How the tensors of two encoders differ, by name."""
    for name, tensor in own.items():
        if name not in wanted:
            found = (what for ends, what in _PARTS if _is_one_of(name, ends, own))
            yield f"{name} is {next(found, f'not in an encoder of its config; {_LAYERS}')}"
        elif tensor.shape != wanted[name].shape:
            yield f"{name} has the shape {tuple(tensor.shape)} and not {tuple(wanted[name].shape)}"
    for name in wanted:
        if name not in own:
            yield f"there is no {name}; {_LAYERS}, if layers were cut"


def _is_one_of(name: str, ends: set[str], names: Mapping[str, Any]) -> bool:
    """Whether a name has one of the ends, and others are the same name with the other ends."""
    stem, _, _ = name.rpartition("_")
    return name.removeprefix(stem) in ends and all(stem + end in names for end in ends)


def _of_ties(own: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """How the parameters that are one tensor differ."""
    for name, other in wanted.items():
        if name not in own:
            yield f"{name} is a tensor by itself, and by its config that of {other}; assign it"
    for name, other in own.items():
        if name not in wanted:
            yield f"{name} shares its tensor with {other}; assign a copy of it"


def _ties(model: nn.Module) -> dict[str, str]:
    """Name of each parameter that there is under an earlier name as well -> that name."""
    first: dict[int, str] = {}
    found = model.named_parameters(remove_duplicate=False)
    earlier = {name: first.setdefault(id(x), name) for name, x in found}
    return {name: other for name, other in earlier.items() if name != other}


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a state dict has; making one would gather what an accelerator has spread."""
    for place, one in module.named_modules():
        for name, tensor in (*one._parameters.items(), *one._buffers.items()):
            if tensor is not None and name not in one._non_persistent_buffers_set:
                yield f"{place}.{name}" if place else name, tensor
