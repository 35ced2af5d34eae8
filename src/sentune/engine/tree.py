"""How an encoder may be run: the one place that decides, in every call, by what its modules are.

What people do to a model (hooks, other layers, adapters, parametrizations, sharding, wrappers)
shows in its modules: in their types, in what hangs on them, in a `forward` of their own. Only an
encoder whose modules are as the libraries made them runs in a way of the engine's own; for all
others the padded run of the library itself is right, whatever was done to them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from sentune.engine.attention import NAME

# "function": as a function of the weights (`engine.bert`); "packed": through its own modules, whose
# attention is ours; "padded": as the library runs it.
Way = Literal["function", "packed", "padded"]

# Families made like BERT, as the library names their classes.
_LIKE_BERT = ("Bert", "Roberta", "XLMRoberta", "Camembert", "Electra", "Ernie")
# Layers of torch that work on each token by itself.
_BY_TOKEN = (
    "torch.nn.modules.linear",
    "torch.nn.modules.normalization",
    "torch.nn.modules.sparse",
    "torch.nn.modules.dropout",
    "torch.nn.modules.container",
    "torch.ao.nn.quantized.dynamic.modules.linear",
)
_ACTIVATION = "torch.nn.modules.activation"
_LIBRARIES = ("transformers.models.", "transformers.activations", "peft.")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# What transformers hangs on an embedding table under gradient checkpointing, for a way of torch to
# do it that is not taken here.
_HARMLESS = "make_inputs_require_grads"
_GLOBAL_HOOKS = [getattr(torch_module, f"_global{name}", {}) for name in _HOOKS]
_switch = threading.local()


@contextmanager
def engine_off(is_off: bool = True) -> Iterator[None]:
    """Inside the block every encoder runs padded, as the library runs it; False undoes that."""
    before = getattr(_switch, "is_off", False)
    _switch.is_off = is_off
    try:
        yield
    finally:
        _switch.is_off = before


def as_now(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs with the engine on or off as it is now, in whatever thread.

    Autograd runs again what was not kept in a thread of the device.
    """
    is_off = getattr(_switch, "is_off", False)

    def run(*arguments: Any) -> Any:
        with engine_off(is_off):
            return function(*arguments)

    return run


def is_off() -> bool:
    """Whether the engine is switched off, by `engine_off` or by SENTUNE_ENGINE=off."""
    return getattr(_switch, "is_off", False) or os.environ.get("SENTUNE_ENGINE") == "off"


class Watch:
    """Decides how an encoder may be run, and remembers it; a `harmless` hook changes nothing."""

    def __init__(self, harmless: str = _HARMLESS) -> None:
        self._seen: tuple[_Snapshot, Way] | None = None
        self._harmless = (harmless, _HARMLESS)

    def way_of(self, encoder: nn.Module) -> Way:
        """How the encoder may be run now."""
        if is_off() or any(_GLOBAL_HOOKS):
            return "padded"
        seen = self._seen
        if seen is None or not seen[0].is_of(encoder, self._harmless):
            seen = self._seen = (_Snapshot(encoder), _judged(encoder, self._harmless))
        way = seen[1]
        config = None if way == "padded" else getattr(inner_of(encoder), "config", None)
        return way if getattr(config, "_attn_implementation", None) == NAME else "padded"


class _Snapshot:
    """The modules of an encoder as they were when it was judged."""

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self.entries = [
            (module, type(module), type(module).forward, tuple(module._modules.values()))
            for module in encoder.modules()
        ]

    def is_of(self, encoder: nn.Module, harmless: tuple[str, ...]) -> bool:
        """Whether it is the same one, nothing hangs on its modules, and each computes as then."""
        if encoder is not self.encoder:
            return False
        for module, kind, forward, children in self.entries:
            own = module.__dict__
            if (
                type(module) is not kind
                or kind.forward is not forward
                or not _is_bare(own, harmless)
                or len(own["_modules"]) != len(children)
            ):
                return False
            for child, known in zip(own["_modules"].values(), children, strict=True):
                if child is not known:
                    return False
        return True


# As torch has them; who replaces one of these functions wants to be called.
_FORWARDS = {kind: kind.forward for kind in (nn.Linear, nn.LayerNorm, nn.Embedding, nn.Dropout)}


def _judged(encoder: nn.Module, harmless: tuple[str, ...]) -> Way:
    are_as_made = all(_is_as_made(module, harmless) for module in encoder.modules())
    if not are_as_made or not _is_of_library(inner_of(encoder)):
        return "padded"
    return "function" if _is_like_bert(encoder) else "packed"


def _is_as_made(module: nn.Module, harmless: tuple[str, ...]) -> bool:
    """Whether a module is one of the libraries', works by token or is attention, and is bare."""
    kind = type(module)
    if not _is_bare(module.__dict__, harmless):
        return False
    if kind in _FORWARDS:
        return kind.forward is _FORWARDS[kind]
    home = kind.__module__
    is_activation = home == _ACTIVATION and kind is not nn.MultiheadAttention
    return home in _BY_TOKEN or is_activation or home.startswith(_LIBRARIES)


def _is_bare(own: dict[str, Any], harmless: tuple[str, ...]) -> bool:
    """Whether nothing hangs on a module, by what is in its `__dict__`."""
    if "forward" in own:
        return False
    hooks = [hook for name in _HOOKS if own[name] for hook in own[name].values()]
    return all(getattr(hook, "__qualname__", "").endswith(harmless) for hook in hooks)


def inner_of(encoder: Any) -> Any:
    """The encoder of the library itself, inside what was put around it."""
    while True:
        if hasattr(type(encoder), "get_base_model"):
            encoder = encoder.get_base_model()
            continue
        inside = getattr(encoder, "_modules", {})
        inner = inside.get("module") or inside.get("_orig_mod")
        if not inner:
            return encoder
        encoder = inner


def class_of(module: nn.Module) -> type[nn.Module]:
    """The class that a module was made of, where sharding has put another one in its place."""
    kinds = type(module).__mro__
    return next(kind for kind in kinds if not kind.__module__.startswith("torch.distributed."))


def _is_of_library(encoder: Any) -> bool:
    return type(encoder).__module__.startswith("transformers.models.")


def keeps_nothing(encoder: Any) -> bool:
    """Whether its layers run under gradient checkpointing, which only their modules know of."""
    return encoder.training and any(
        getattr(module, "gradient_checkpointing", False) for module in encoder.modules()
    )


def _is_like_bert(encoder: Any) -> bool:
    """Whether the encoder has just the parts, in just the places, that the function reads."""
    name = type(encoder).__name__.removesuffix("Model")
    if name not in _LIKE_BERT or type(encoder).__name__ != f"{name}Model":
        return False
    try:
        return all(_is_part(part, kind, name) for part, kind in _parts(encoder)) and all(
            _is_usual(layer) for layer in encoder.encoder.layer
        )
    except AttributeError:  # another release of the library
        return False


def _parts(encoder: Any) -> Iterator[tuple[Any, Any]]:
    """The parts that the function reads, and what each should be."""
    embeddings = encoder.embeddings
    yield embeddings, "Embeddings"
    for table in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        yield getattr(embeddings, table), nn.Embedding
    yield from ((embeddings.LayerNorm, nn.LayerNorm), (embeddings.dropout, nn.Dropout))
    yield getattr(encoder, "embeddings_project", None), nn.Linear
    yield getattr(embeddings, "task_type_embeddings", None), nn.Embedding
    yield from ((encoder.encoder, "Encoder"), (encoder.encoder.layer, nn.ModuleList))
    for layer in encoder.encoder.layer:
        attention = layer.attention.self
        yield from ((layer, "Layer"), (layer.attention, "Attention"), (attention, "SelfAttention"))
        for part in (attention.query, attention.key, attention.value, layer.intermediate.dense):
            yield part, nn.Linear
        yield attention.dropout, nn.Dropout
        yield from ((layer.attention.output, "SelfOutput"), (layer.output, "Output"))
        for part in (layer.attention.output, layer.output):
            yield from ((part.dense, nn.Linear), (part.LayerNorm, nn.LayerNorm))
            yield part.dropout, nn.Dropout
        yield layer.intermediate, "Intermediate"


def _is_part(part: Any, kind: Any, name: str) -> bool:
    if isinstance(kind, str):
        return type(part).__name__ == name + kind and _is_of_library(part)
    if kind is nn.Embedding and part is not None:
        is_plain = part.max_norm is None and not part.scale_grad_by_freq and not part.sparse
        return type(part) is kind and is_plain
    return part is None or type(part) is kind


def _is_usual(layer: Any) -> bool:
    attention = layer.attention.self
    parts = (attention.query, attention.key, attention.value)
    return (
        not layer.chunk_size_feed_forward
        and not layer.is_decoder
        and len({part.bias is None for part in parts}) == 1
        and len({part.weight.shape for part in parts}) == 1
        and all(torch.is_tensor(part.weight) for part in parts)
    )
