"""The weights of a saved model -> the modules in memory that it was saved from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sentune.errors import ModelFileError
from sentune.files import layout, weights
from sentune.files.folder import ModelFolder
from sentune.files.modules import adapters
from sentune.files.modules.custom import Code
from sentune.files.modules.one import Reader
from sentune.files.source import Hub, local_folder


def restore(
    modules: Mapping[str, nn.Module], folder: Path, hub: Hub, *, trust_remote_code: bool = False
) -> None:
    """Give modules the weights that a folder holds, in place: parameters stay the same objects.

    Tensors go from the file straight to the module; only where their names are not the module's
    own, as for an encoder that transformers stores under other names, is a second one made.

    Args:
        modules: Name -> module, in order.
        folder: Of a model with the same modules.
        hub: Where code and encoders are that the folder names and does not hold.
        trust_remote_code: Whether code that comes with the folder may run.

    Raises:
        ModelFileError: If the folder holds another model, or is damaged.
    """
    root = local_folder(folder)
    path = folder / layout.MODULES_FILE
    entries = root.need_json(layout.MODULES_FILE, list)
    if [entry.get("name") for entry in entries] != list(modules):
        raise ModelFileError(
            f"{path} lists the modules {[entry.get('name') for entry in entries]}, but the model "
            f"has {list(modules)}"
        )
    reader = Reader(Code(folder, hub, trust_remote_code))
    for entry, module in zip(entries, modules.values(), strict=True):
        if module.state_dict():
            _restore(module, root.sub(entry["path"], path), entry["type"], reader, path)


def _restore(
    module: nn.Module, folder: ModelFolder, type_name: str, reader: Reader, path: Path
) -> None:
    row = layout.type_of(module)
    inner: Any = module.auto_model if row and row.name == "Transformer" else module
    if row and row.name == "Transformer" and adapters.has_adapter(inner):
        return _restore_adapter(inner, folder)
    found = weights.read(folder)
    if found is None or found[0].keys() != inner.state_dict().keys():
        inner = module
        found = reader.read(type_name, folder, path).state_dict(), folder.path
    _copy(found[0], inner.state_dict(), found[1])


def _restore_adapter(encoder: nn.Module, folder: ModelFolder) -> None:
    """The adapter; and what is below it, if that is in the folder too."""
    found = adapters.read(folder)
    if found is None:
        raise ModelFileError(f"{folder} holds no adapter, but the encoder in memory has one")
    _copy(found, adapters.tensors(encoder), folder.path)
    if (base := weights.read(folder)) is not None:
        _copy(base[0], adapters.base_tensors(encoder), base[1])


def _copy(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != stored:
        differ = sorted(dict(shapes.items() ^ stored.items()))
        raise ModelFileError(f"{path} and the model in memory differ in the tensors {differ}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
