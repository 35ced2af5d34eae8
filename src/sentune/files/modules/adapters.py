"""Adapters of peft in a model's folder: adapter_config.json and adapter_model.safetensors.

The encoder below an adapter is frozen, so that its weights are written only where the reader could
not find the same ones again: in the folder or the repository that adapter_config.json names.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sentune._lazy import need
from sentune.errors import ModelFileError, SettingError
from sentune.files.modules import adapter_base
from sentune.folders import weights
from sentune.folders.folder import ModelFolder, read_json, write_json
from sentune.folders.names import ADAPTER_FILE, SAFETENSORS

logger = logging.getLogger(__name__)

FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."  # peft's own class puts it before each name; transformers does not


def has_adapter(encoder: Any) -> bool:
    """Whether an encoder has adapters, inside it or wrapped around it."""
    return is_wrapped(encoder) or getattr(encoder, "_hf_peft_config_loaded", False)


def is_wrapped(encoder: Any) -> bool:
    """Whether an encoder is a `peft.PeftModel`."""
    return hasattr(type(encoder), "get_base_model")


def attach(encoder: Any, folder: ModelFolder) -> None:
    """Put the adapter in a folder on an encoder without adapters, which is changed in place."""
    peft = adapter_base.need_peft()
    stored, _ = weights.need(folder, FILES)
    config = peft.PeftConfig.from_pretrained(str(folder.path))
    from sentune.engine.encoders import no_bar

    with no_bar():
        found = encoder.load_adapter(peft_config=config, adapter_state_dict=stored)
    if missing := sorted(getattr(found, "missing_keys", ())):
        raise ModelFileError(f"{folder}: the adapter lacks the tensors {missing[:3]}")


def write(encoder: Any, folder: Path, *, safe: bool) -> None:
    """Write the active adapter of an encoder, and the encoder unless it can be found elsewhere.

    The adapter goes to safetensors in any case; `safe` is for the encoder.
    """
    if any(getattr(module, "merged", False) is True for module in encoder.modules()):
        raise SettingError("an adapter is merged into the encoder; unmerge it, or unload it too")
    name = _active(encoder)
    if others := sorted(set(encoder.peft_config) - {name}):
        logger.warning("only the adapter %r is saved, and not %s", name, others)
    weights.write(tensors(encoder), folder, safe=True)  # transformers reads no other from a folder
    (folder / SAFETENSORS).rename(folder / FILES[0])
    config = copy.copy(encoder.peft_config[name])
    config.base_model_name_or_path = adapter_base.name_of(plain(encoder))
    config.save_pretrained(str(folder))
    path = folder / ADAPTER_FILE
    content = read_json(path, dict)
    for key, value in vars(config).items():
        if isinstance(value, set):  # in any order, and another one each time
            content[key] = sorted(value)
    write_json(path, content)
    if not adapter_base.holds(plain(encoder), base_tensors(encoder)):
        write_base(encoder, folder, safe=safe)


def write_base(encoder: Any, folder: Path, *, safe: bool) -> None:
    """Write an encoder as it is below its adapters."""
    plain(encoder).config.save_pretrained(folder)
    weights.write(base_tensors(encoder), folder, safe=safe)


def tensors(encoder: Any) -> dict[str, Tensor]:
    """The tensors of the active adapter, not copied, under the names of its file."""
    peft = need("peft", "peft")
    found = peft.get_peft_model_state_dict(
        encoder, adapter_name=_active(encoder), save_embedding_layers=False
    )
    return {name if name.startswith(_PREFIX) else _PREFIX + name: x for name, x in found.items()}


def base_tensors(encoder: Any) -> dict[str, Tensor]:
    """The tensors of an encoder below its adapters, not copied, under their names without them."""
    encoder = plain(encoder)
    inside = dict(_layers_of_adapters(encoder))
    result = {}
    for name, tensor in encoder.state_dict().items():
        layer = next((place for place in inside if name.startswith(f"{place}.")), None)
        if layer is None:
            result[name] = tensor
        elif name.startswith(kept := f"{layer}.{inside[layer]}."):
            result[f"{layer}.{name.removeprefix(kept)}"] = tensor
    return result


def plain(encoder: Any) -> Any:
    """The encoder of the transformers library itself."""
    return encoder.get_base_model() if is_wrapped(encoder) else encoder


def is_based_in(module: nn.Module, folder: Path) -> bool:
    """Whether a save into a folder would replace the weights that an adapter is for."""
    encoder = getattr(module, "auto_model", None)
    if encoder is None or not has_adapter(encoder):
        return False
    base = adapter_base.folder_of(plain(encoder))
    return base is not None and folder in (base.resolve(), base.resolve().parent)


def _active(encoder: Any) -> str:
    found = encoder.active_adapters
    active = list(found() if callable(found) else found)
    if len(active) != 1:
        raise SettingError(
            f"the adapters {active} are active, but a folder holds one; choose it by set_adapter"
        )
    return active[0]


def _layers_of_adapters(encoder: nn.Module) -> Iterator[tuple[str, str]]:
    """Name of each layer that an adapter replaces, and the name of the old layer inside it."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    for name, module in encoder.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, "base_layer"
        elif isinstance(module, AuxiliaryTrainingWrapper):
            yield name, "original_module"
