"""The weights of a saved model -> the modules in memory that it was saved from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sentune.errors import ModelFileError
from sentune.files import layout, plan
from sentune.files.modules.build import build
from sentune.files.modules.how import Reading
from sentune.files.plan import ModulePlan
from sentune.folders import weights
from sentune.folders.names import MODULES_FILE
from sentune.folders.source import Code, Hub, local_folder


def restore(
    modules: Mapping[str, nn.Module], folder: Path, hub: Hub, *, trust_remote_code: bool = False
) -> None:
    """Give modules the weights that a folder holds, in place: parameters stay the same objects.

    Tensors go from the file straight to the module; only where their names are not the module's
    own, as for an encoder that transformers stores under other names, is a second one made. A
    ModelFileError if the folder holds another model.
    """
    root = local_folder(folder)
    path = folder / MODULES_FILE
    entries = root.need_json(MODULES_FILE, list)
    names = [entry.get("name") for entry in entries]
    if names != list(modules):
        raise ModelFileError(f"{path} lists the modules {names}, but the model has {list(modules)}")
    how = Reading(Code(folder, hub, trust_remote_code))
    planned = plan.listed_modules(root, is_trusted=trust_remote_code)
    for name, module in modules.items():
        if module.state_dict():
            _restore(module, planned[name], how)


def _restore(module: nn.Module, planned: ModulePlan, how: Reading) -> None:
    row = layout.type_of(module)
    find = getattr(row.load_format() if row else None, "restore", weights.of_same_names)
    pairs = find(module, planned.folder)
    if pairs is None:
        pairs = [(build(planned, how).state_dict(), module.state_dict(), planned.folder.path)]
    for stored, own, path in pairs:
        _copy(stored, own, path)


def _copy(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != stored:
        differ = sorted(dict(shapes.items() ^ stored.items()))
        raise ModelFileError(f"{path} and the model in memory differ in the tensors {differ}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
