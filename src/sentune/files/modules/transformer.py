"""A Transformer's folder: sentence_bert_config.json beside what the transformers library keeps."""

from __future__ import annotations

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
    """A Transformer; keyword arguments of the caller win over those of its file."""
    folder, settings = plan.folder, dict(plan.settings)
    base = adapter_base.base_of(folder, how.code)
    if base is not folder:
        checked.check(base, is_trusted=how.code.is_trusted)
        if checked.has_tokenizer(folder):
            checked.check_tokenizer(folder)
            settings["tokenizer_name_or_path"] = str(folder)
    given = {name: getattr(how, name) for name in KWARGS}
    # Other options than what is done without them have to go to the library.
    options = [item for name in KWARGS for item in {**settings[name], **given[name]}.items()]
    is_usual = base is folder and all(item == ("dtype", torch.float32) for item in options)
    are_pinned = all("code_revision" in callers for callers in given.values())
    access = how.code.options() if are_pinned else custom.encoder_options(base, how.code)
    for name, callers in given.items():
        settings[name] = {**settings[name], **access, **callers}
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


def restore(module: nn.Module, folder: ModelFolder) -> list[weights.Pair] | None:
    """Tensors in a folder and those of a Transformer in memory; None if their names differ.

    With an adapter, it comes first, and then the encoder if that is in the folder, too.
    """
    encoder: Any = rebuilt.unwrapped(module.auto_model)
    if not adapters.has_adapter(encoder):
        return weights.of_same_names(encoder, folder)
    found = weights.read(folder, adapters.FILES)
    if found is None:
        raise ModelFileError(f"{folder} holds no adapter, but the encoder in memory has one")
    pairs: list[weights.Pair] = [(found[0], adapters.tensors(encoder), folder.path)]
    if (base := weights.read(folder)) is not None:
        pairs.append((base[0], adapters.base_tensors(encoder), base[1]))
    return pairs
