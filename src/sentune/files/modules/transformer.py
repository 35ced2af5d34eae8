"""A Transformer's folder: sentence_bert_config.json beside what the transformers library keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune.errors import ModelFileError
from sentune.files import checkpoint as checked
from sentune.files import settings as understood
from sentune.files.layout import ModuleType
from sentune.files.modules import adapter_base, adapters, checkpoint, custom, deferred, rebuilt
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.files.settings import KWARGS
from sentune.folders import weights
from sentune.folders.folder import ModelFolder, write_json


def read(plan: ModulePlan, how: Reading, kind: type[nn.Module]) -> nn.Module:
    """A Transformer.

    Args:
        plan: What its folder says.
        how: Which code may run; and the caller's `model_kwargs`, `processor_kwargs` and
            `config_kwargs`, which win over those of the file.
        kind: Its class.

    Raises:
        ModelFileError: If a file is missing or damaged.
        UntrustedCodeError: If the encoder brings code of its own that is not allowed to run.
    """
    folder, settings = plan.folder, dict(plan.settings)
    base = adapter_base.base_of(folder, how.code)
    if base is not folder:
        checked.check(base, is_trusted=how.code.is_trusted)
        if checked.has_tokenizer(folder):
            checked.check_tokenizer(folder)
            settings["tokenizer_name_or_path"] = str(folder)
    given = {name: getattr(how, name) for name in KWARGS}
    is_usual = base is folder and not any(
        _beyond_default({**settings[name], **callers}) for name, callers in given.items()
    )
    are_pinned = all("code_revision" in callers for callers in given.values())
    options = how.code.options() if are_pinned else custom.encoder_options(base, how.code)
    for name, callers in given.items():
        settings[name] = {**settings[name], **options, **callers}
    if "model_max_length" in how.processor_kwargs:
        settings["max_seq_length"] = None  # the tokenizer says it
    if is_usual and plan.row is not None and kind is plan.row.load_class():
        if (found := deferred.read(folder, settings)) is not None:
            return found
    try:
        module: Any = kind(str(base), **settings)
        if base is not folder:
            adapters.attach(module.auto_model, folder)
        return module
    except Exception as error:  # whatever a damaged or hostile file sets off in the libraries
        raise checkpoint.explained(folder, error) from error


def write(row: ModuleType, module: nn.Module, folder: Path, how: Writing) -> None:
    """Write a Transformer."""
    encoder = rebuilt.unwrapped(module.auto_model)
    tokenizer: Any = module.tokenizer
    write_encoder = adapters.write if adapters.has_adapter(encoder) else checkpoint.write_encoder
    write_encoder(encoder, folder, safe=how.safe)
    settings: dict[str, Any] = module.settings()  # type: ignore[operator]
    checkpoint.write_tokenizer(tokenizer, folder, settings["max_seq_length"])
    is_chat = bool(getattr(tokenizer, "chat_template", None))
    task = understood.said_of_task(str(module.transformer_task), is_chat=is_chat)
    write_json(folder / str(row.file), {**{key: settings[key] for key in row.keys}, **task})


check = rebuilt.check


def stored(module: nn.Module) -> nn.Module:
    """The part of a Transformer whose tensors its folder holds."""
    encoder: Any = rebuilt.unwrapped(module.auto_model)
    return encoder


def restore(module: nn.Module, folder: ModelFolder) -> list[tuple[Any, Any, Path]] | None:
    """Tensors in a folder, those of a Transformer in memory, and where they are from.

    Returns:
        A triple for the adapter, and one for the encoder if that is in the folder, too; None for a
        Transformer without an adapter.

    Raises:
        ModelFileError: If the folder holds no adapter.
    """
    encoder: Any = rebuilt.unwrapped(module.auto_model)
    if not adapters.has_adapter(encoder):
        return None
    found = adapters.read(folder)
    if found is None:
        raise ModelFileError(f"{folder} holds no adapter, but the encoder in memory has one")
    pairs = [(found, adapters.tensors(encoder), folder.path)]
    if (base := weights.read(folder)) is not None:
        pairs.append((base[0], adapters.base_tensors(encoder), base[1]))
    return pairs


def _beyond_default(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that ask for something else than what is done without them."""
    return {
        key: value for key, value in options.items() if (key, value) != ("dtype", torch.float32)
    }
