"""Weights of a module: safetensors first, a pickle only as plain tensors."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sentune.errors import ModelFileError
from sentune.folders import weight_files
from sentune.folders.folder import ModelFolder
from sentune.folders.names import PICKLE, SAFETENSORS
from sentune.folders.weight_files import NAMES, damage_named, refuse_packed

# Tensors in a folder, those in memory of the same names, and where the first are from.
Pair: TypeAlias = tuple[Mapping[str, Tensor], Mapping[str, Tensor], Path]


def read(
    folder: ModelFolder, names: tuple[str, str] = NAMES
) -> tuple[dict[str, Tensor], Path] | None:
    """The tensors in a folder and the file they are from; None if it holds no weights."""
    path = weight_files.found(folder, names)
    return None if path is None else (read_file(path), path)


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors in a file; a ModelFileError if it is damaged, or holds more than tensors."""
    if path.suffix != ".safetensors":
        return _read_pickle(path)
    with damage_named(path):
        return load_file(path)


def need(folder: ModelFolder, names: tuple[str, str] = NAMES) -> tuple[dict[str, Tensor], Path]:
    """As `read`, but there must be weights."""
    path = weight_files.need(folder, names)
    return read_file(path), path


def of_same_names(module: nn.Module, folder: ModelFolder) -> list[Pair] | None:
    """The tensors in a folder and those of a module; None if their names differ."""
    found, own = read(folder), module.state_dict()
    return [(found[0], own, found[1])] if found and found[0].keys() == own.keys() else None


def put(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give a module its tensors, in the module's own precision; a module on "meta" gets storage."""
    own = module.state_dict()
    who = type(module).__name__
    if missing := sorted(own.keys() - tensors.keys()):
        raise ModelFileError(f"{path}: {who} needs the tensors {missing}, which are not in it")
    if unknown := sorted(tensors.keys() - own.keys()):
        raise ModelFileError(f"{path} holds tensors that {who} does not have: {unknown}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise ModelFileError(
                f"{path}: {name!r} has shape {tuple(tensor.shape)}, but the settings of {who} "
                f"beside it ask for {tuple(own[name].shape)}"
            )
    cast = {name: tensor.to(own[name].dtype) for name, tensor in tensors.items()}
    module.load_state_dict(cast, assign=True)


def write(tensors: Mapping[str, Tensor], folder: Path, *, safe: bool) -> None:
    """Write tensors, on any device, into a folder: as safetensors, or else as a pickle."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if not safe:
        torch.save(plain, folder / PICKLE)
        return
    seen: set[int] = set()
    for name, tensor in plain.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen:  # two names for one memory, which safetensors does not keep
            plain[name] = tensor.clone()
        seen.add(place)
    save_file(plain, folder / SAFETENSORS, metadata={"format": "pt"})


def _read_pickle(path: Path) -> dict[str, Tensor]:
    refuse_packed(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        # Torch's own text advises to open the file unsafely; all that counts of it is the name.
        asked = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it asks for {asked[1]}" if asked else "it is damaged"
        raise ModelFileError(
            f"{path} could not be read as plain tensors: {why}. A file of weights that holds more "
            "could run code when opened, which is never allowed; ask for safetensors instead"
        ) from error
    is_plain = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) and value.layout is torch.strided
        for name, value in content.items()
    )
    if not is_plain:
        raise ModelFileError(f"{path} must hold tensors by name, got {type(content).__name__}")
    for name, tensor in content.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ModelFileError(
                f"{path}: {name!r} of shape {tuple(tensor.shape)} repeats the numbers it has in "
                "the file; save a contiguous tensor"
            )
    return dict(content)
