"""Where the encoder of an adapter is: what adapter_config.json may name, and does name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from packaging.version import Version
from safetensors import safe_open
from torch import Tensor

from sentune._lazy import need
from sentune.disk.downloads import snapshot_of
from sentune.errors import MissingDependencyError, ModelFileError
from sentune.folders import keys, weights
from sentune.folders.folder import ModelFolder
from sentune.folders.names import ADAPTER_FILE, ENCODER_FILE
from sentune.folders.source import Code, Hub, local_folder

_BASE = "base_model_name_or_path"
_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def need_peft() -> ModuleType:
    """The peft library, of a release that the installed transformers puts adapters in with.

    Raises:
        MissingDependencyError: If it is not installed, or is too old for that transformers.
    """
    peft = need("peft", "peft")
    import transformers
    from transformers.integrations import peft as support

    oldest = getattr(support, "MIN_PEFT_VERSION", "0")
    if Version(peft.__version__) < Version(oldest):
        raise MissingDependencyError(
            f"transformers {transformers.__version__} works with peft {oldest} and newer, and peft "
            f"{peft.__version__} is installed; for releases of both that work together: "
            'pip install "sentune[peft]"'
        )
    return peft


def base_of(folder: ModelFolder, code: Code) -> ModelFolder:
    """The folder with the encoder's own weights: this one, unless it holds only an adapter."""
    config = folder.read_json(ADAPTER_FILE, dict)
    if config is None:
        return folder
    need_peft()
    if folder.file(ENCODER_FILE) is not None:
        return folder  # whatever the adapter names: the encoder is here
    path = folder.path / ADAPTER_FILE
    keys.need(config, (_BASE,), path)
    keys.check(config, {_BASE: keys.TEXT, "revision": keys.TEXT.or_null()}, path)
    base = _fetched(config[_BASE], config.get("revision"), folder, code.hub)
    if base.file(ADAPTER_FILE) is not None or base.file(ENCODER_FILE) is None:
        raise ModelFileError(
            f"{path}: {_BASE!r} names {base}, which is no plain encoder; it must hold "
            f"{ENCODER_FILE} and no {ADAPTER_FILE}"
        )
    return base


def name_of(encoder: Any) -> str | None:
    """What to call an encoder's source: its id if it is from the Hub, else its folder."""
    name = str(getattr(encoder, "name_or_path", None) or "")
    path = Path(name)
    if not name or not path.is_dir():
        return name or None
    return _id_of(path) or os.path.abspath(path)


def folder_of(encoder: Any) -> Path | None:
    """Where an encoder was loaded from, if that can be found without the network."""
    name = str(getattr(encoder, "name_or_path", None) or "")
    if not name or Path(name).is_dir():
        return Path(name) if name else None
    if not _ID.fullmatch(name):
        return None
    try:
        found = try_to_load_from_cache(name, ENCODER_FILE)
    except ValueError:  # no name that a repository can have
        return None
    return Path(found).parent if isinstance(found, str) else None


def holds(encoder: Any, tensors: Mapping[str, Tensor]) -> bool:
    """Whether where an encoder was loaded from there are the weights that it has now."""
    path = folder_of(encoder)
    if path is None or (path / ADAPTER_FILE).exists() or not (path / ENCODER_FILE).exists():
        return False
    if snapshot_of(path) and _id_of(path) is None:
        return False  # a folder in a repository, for which an adapter has no name
    own = {name: x for name, x in tensors.items() if "pooler." not in name}
    seen = set()
    for name, tensor in _tensors_below(path):
        place = next((n for n in own if name == n or name.endswith(f".{n}")), None)
        if place is not None:
            seen.add(place)
            if not torch.equal(tensor.to(own[place].dtype), own[place].cpu()):
                return False
    return seen == own.keys()


def _fetched(name: str, revision: str | None, folder: ModelFolder, hub: Hub) -> ModelFolder:
    """The folder that an adapter names, or that of the repository on the Hub that it names."""
    path = Path(name).expanduser()
    # What comes from the Hub has no say over which folders of this machine are read.
    if not folder.is_download and path.is_dir():
        return local_folder(path)
    if _ID.fullmatch(name):
        snapshot = hub.at(revision).fetch(name)
        return ModelFolder(snapshot.path, snapshot.roots)
    raise ModelFileError(
        f"{folder.path / ADAPTER_FILE}: the adapter is for the encoder {keys.shown(name)}, which "
        f"is neither a folder here nor on the Hub; put it there, or correct {_BASE!r}"
    )


def _id_of(folder: Path) -> str | None:
    """The id on the Hub of a snapshot in its cache; None for another folder, and one inside it."""
    found = snapshot_of(folder)
    return found.repo_id if found and found.path.samefile(folder) else None


def _tensors_below(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a folder, one after the other."""
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        with safe_open(path, "pt") as file:
            for name in file.keys():
                yield name, file.get_tensor(name)
    if not files:
        found: Mapping[str, Tensor] = (weights.read(local_folder(folder)) or ({}, folder))[0]
        yield from found.items()
