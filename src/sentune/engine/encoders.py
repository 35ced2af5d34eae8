"""Encoders of the transformers library: loaded from files, or made of tensors at hand.

Loading raises a `HubError` for what is neither a folder nor on the Hub, a `ModelFileError` for
files that are damaged.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError as _BadConfigError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from sentune.engine import attention, encoder_only, tasks
from sentune.engine.tree import class_of
from sentune.errors import HubError, MissingModelError, ModelFileError, warn
from sentune.machine.screen import without_bars

attention.register()


def load_tokenizer(source: str, options: dict) -> Any:
    """The tokenizer of a folder or Hub id."""
    try:
        return AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError) as error:
        raise _loading_error(source, "tokenizer", error) from error


def with_tensors(folder: Path, source: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The library's own encoder with the very tensors of a checkpoint, in evaluation mode."""
    config = AutoConfig.from_pretrained(folder)
    config._name_or_path = source
    with torch.device("meta"):
        encoder = AutoModel.from_config(config, dtype=torch.float32)
    encoder.config._name_or_path = encoder.name_or_path = source
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        setattr(encoder.get_submodule(owner), leaf, nn.Parameter(tensor))
    # Buffers that no file holds.
    places, device = encoder.embeddings, encoder.embeddings.LayerNorm.weight.device
    numbers = torch.arange(config.max_position_embeddings, device=device).expand((1, -1))
    places.register_buffer("position_ids", numbers, persistent=False)
    places.register_buffer("token_type_ids", torch.zeros_like(numbers), persistent=False)
    encoder.set_attn_implementation(attention.NAME)
    return encoder.eval()


def on_meta(encoder: Any, task: str) -> Any:
    """The encoder that would be loaded of the files of this one, on "meta": without memory.

    None where settings alone do not decide its modules: with quantized weights, or foreign code.
    """
    config, kind = copy.deepcopy(encoder.config), class_of(encoder)
    is_foreign = kind.__module__.startswith("transformers_modules.")
    if is_foreign or getattr(config, "quantization_config", None) is not None:
        return None
    config.architectures = [kind.__name__]  # what `save_pretrained` writes
    if hasattr(config, "validate"):
        config.validate()  # as a reader does; what was set since it was made is not checked
    way = _way(config, task)
    loader = way.loader
    if hasattr(loader, "_model_mapping"):
        if type(config) not in loader._model_mapping:
            return None
        found = loader._model_mapping[type(config)]
        several = found if isinstance(found, tuple) else (found,)
        loader = kind if kind in several else several[0]
    way.config._attn_implementation = "eager"  # the same modules, and it needs no package
    with torch.device("meta"):
        made = loader(way.config)
    return made.get_encoder() if way.is_inside else made


@torch.inference_mode(mode=False)
def load_encoder(
    source: str, config_options: dict, model_options: dict, *, task: str = tasks.FEATURES
) -> nn.Module:
    """The encoder, in evaluation mode, with packed attention where it can have it."""
    model_options = dict(model_options)
    dtype = model_options.pop("dtype", model_options.pop("torch_dtype", torch.float32))
    try:
        config = model_options.pop("config", None) or AutoConfig.from_pretrained(
            source, **config_options
        )
        _set_labels(config, config_options, task)
        way = _way(config, task)
        options = {**model_options, "config": way.config, "dtype": dtype}
        with no_bar() if Path(source).is_dir() else nullcontext():
            encoder, report = way.loader.from_pretrained(
                source, output_loading_info=True, **options
            )
    except ModelFileError as error:
        raise ModelFileError(f"{source}: {error}") from None
    except (OSError, ValueError, KeyError, RuntimeError, _BadConfigError) as error:
        raise _loading_error(source, "encoder", error) from error
    _check_missing(source, encoder, report["missing_keys"], task)
    if way.is_inside:
        encoder = encoder.get_encoder()
    if can_pack(config) and "attn_implementation" not in model_options:
        encoder.set_attn_implementation(attention.NAME)
    return encoder


def without_weights(source: str, options: dict, *, task: str = tasks.FEATURES) -> nn.Module:
    """The encoder that `load_encoder` would give, on "meta": to be asked, not to be run."""
    try:
        config = AutoConfig.from_pretrained(source, **options)
        _set_labels(config, options, task)
        way = _way(config, task)
        make = getattr(way.loader, "from_config", None) or way.loader._from_config
        with torch.device("meta"):
            encoder = make(way.config).eval()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, _BadConfigError) as error:
        raise _loading_error(source, "encoder", error) from error
    if way.is_inside:
        encoder = encoder.get_encoder()
    if can_pack(config):
        encoder.set_attn_implementation(attention.NAME)
    return encoder


def can_pack(config: Any) -> bool:
    """Whether encoders with this configuration run on packed sentences, as they are loaded."""
    return config.model_type in attention.PACKABLE and not getattr(config, "is_decoder", 0)


def _way(config: Any, task: str) -> encoder_only.Way:
    if task == tasks.FEATURES:
        return encoder_only.way_of(config)
    return encoder_only.Way(getattr(transformers, tasks.TASKS[task].loader), config)


def _set_labels(config: Any, options: Mapping[str, Any], task: str) -> None:
    """Have a head that is not there yet give one score."""
    if task != tasks.CLASSES or "num_labels" in options:
        return
    names = getattr(config, "architectures", None) or ()
    if not any(name.endswith("ForSequenceClassification") for name in names):
        config.num_labels = 1


def _check_missing(source: str, encoder: Any, names: Iterable[str], task: str) -> None:
    """Raise if weights of the encoder are missing; warn if those of its head are."""
    # The pooler is missing in many checkpoints; without a head, what it gives is not used.
    missing = sorted(name for name in names if "pooler." not in name)
    if task == tasks.CLASSES:
        below = f"{encoder.base_model_prefix}."
        missing = [name for name in missing if name.startswith(below)]
        if new := sorted(set(names) - set(missing)):
            warn(f"{source} has no weights for {', '.join(new)}; they are random until trained")
    if missing:
        few = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise ModelFileError(
            f"the weights in {source} lack {len(missing)} tensors that its config.json asks for "
            f"({few}); they would be random"
        )


def no_bar() -> AbstractContextManager[None]:
    """No progress bar of the transformers library, for a second's work."""
    return without_bars(transformers_logging)


def _loading_error(source: str, part: str, error: Exception) -> Exception:
    """The error for a model that could not be loaded, with what to do."""
    if Path(source).is_dir():
        is_missing = isinstance(error, OSError) and "no file named" in str(error)
        return (MissingModelError if is_missing else ModelFileError)(
            f"the {part} in {source} could not be loaded: {error}. "
            "The folder must hold config.json, weights (model.safetensors) and a tokenizer"
        )
    return HubError(
        f"{source!r} is no folder here, and its {part} could not be had from the Hub: {error}"
    )
