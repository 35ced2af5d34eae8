"""The modules and settings of a model -> a folder that the most readers understand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune._version import __version__
from sentune.disk import files, folders
from sentune.errors import SettingError
from sentune.files import kinds, layout
from sentune.files.kinds import SENTENCE_TRANSFORMER, ModelKind
from sentune.files.modules import adapters
from sentune.files.modules import build as modules
from sentune.files.modules.how import Writing
from sentune.files.own import own
from sentune.folders.folder import read_json, write_json
from sentune.folders.names import ENCODER_FILE, MODEL_FILE, MODULES_FILE, README


def save(
    modules_: Mapping[str, nn.Module],
    settings: Mapping[str, Any],
    folder: str | Path,
    *,
    kind: ModelKind = SENTENCE_TRANSFORMER,
    safe_serialization: bool = True,
    module_kwargs: Mapping[str, list[str]] | None = None,
    card: str | None = None,
) -> None:
    """Write a model into a folder.

    At any error or kill the folder holds the model that was there, or the new one (see
    `sentune.disk.folders`). Files of a model that was in the folder go, other files stay. Without
    `safe_serialization`, weights go to pytorch_model.bin; without a card, README.md stays.
    """
    target = _named(folder)
    if target.exists() and not target.is_dir():
        raise SettingError(f"a model is saved into a folder, but {target} is a file")
    with folders.replaced(target, own) as draft:
        _write(modules_, Writing(draft, safe_serialization), module_kwargs or {})
        _write_settings(kind, settings, draft)
        _keep_bases(modules_, draft, target, safe_serialization)
        if card is not None:
            (draft / README).write_text(card, encoding="utf-8", newline="")


def check(modules_: Mapping[str, nn.Module]) -> None:
    """Raise a SettingError if modules could not be saved and loaded again, before it is tried."""
    for module in modules_.values():
        modules.check(module)


def save_card(card: str | None, folder: str | Path) -> None:
    """Write README.md, if there is a card, into a folder, atomically."""
    if card is not None:
        files.write(_named(folder) / README, card.encode())


def _named(folder: str | Path) -> Path:
    """The folder of that name, with links resolved."""
    if not os.fspath(folder):
        raise SettingError("a model is saved into a folder, got ''; name one, or '.' for this one")
    return Path(folder).expanduser().resolve()


def _write(
    modules_: Mapping[str, nn.Module], how: Writing, module_kwargs: Mapping[str, list[str]]
) -> None:
    root = how.root
    entries = []
    for position, (name, module) in enumerate(modules_.items()):
        path = _path_of(modules_, name)
        (root / path).mkdir(exist_ok=True)
        written = modules.write(module, root / path, how)
        entry: dict[str, Any] = {"idx": position, "name": name, "path": path, "type": written}
        if module_kwargs.get(name):
            entry["kwargs"] = list(module_kwargs[name])
        entries.append(entry)
    write_json(root / MODULES_FILE, entries)


def _path_of(modules_: Mapping[str, nn.Module], name: str) -> str:
    """A module's folder, seen from that of the model."""
    position, module = list(modules_).index(name), modules_[name]
    is_in_root = position == 0 and getattr(module, "save_in_root", False)
    return "" if is_in_root else f"{position}_{type(module).__name__}"


def _keep_bases(modules_: Mapping[str, nn.Module], draft: Path, target: Path, safe: bool) -> None:
    """Write also the weights below an adapter that replacing the target would remove."""
    for name, module in modules_.items():
        for part in module.modules():
            if not adapters.is_based_in(part, target):
                continue
            if part is not module:
                raise SettingError(
                    f"an adapter in module {name!r} is for the encoder in {target}, which this "
                    "save would replace; save into another folder"
                )
            folder = draft / _path_of(modules_, name)
            adapters.write_base(part.auto_model, folder, safe=safe)


def _write_settings(kind: ModelKind, settings: Mapping[str, Any], root: Path) -> None:
    """Write what the files say of the whole model."""
    versions = {
        "pytorch": torch.__version__,
        "sentence_transformers": layout.WRITTEN_AS,
        "sentune": __version__,
        "transformers": version("transformers"),
    }
    config = {"__version__": versions, "model_type": kind.name, **_said(kind, settings)}
    write_json(root / MODEL_FILE, config, sort_keys=True)
    if kind is kinds.CROSS_ENCODER and (root / ENCODER_FILE).exists():
        # Releases before 5.4 look for the activation here, and know no other file of the model:
        # 4 and 5 in the settings, 3 in a key of its own, which later ones read only without them.
        activation = config["activation_fn"]
        marks = {
            kinds.OLDER_SETTINGS: {"activation_fn": activation, "version": layout.WRITTEN_AS},
            kinds.OLDEST_ACTIVATION: activation,
        }
        encoder = read_json(root / ENCODER_FILE, dict)
        write_json(root / ENCODER_FILE, {**encoder, **marks}, sort_keys=True)


def _said(kind: ModelKind, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are written: some always, the others where they are set."""
    prompts = dict(settings.get("prompts") or {})
    said = {"default_prompt_name": settings.get("default_prompt_name"), "prompts": prompts}
    for key in kind.settings:
        value = settings.get(key)
        if value is not None or key in kind.always:
            said[key] = str(value) if key == "similarity_fn_name" and value else value
    return said
