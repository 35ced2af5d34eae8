"""A Transformer's folder: sentence_bert_config.json beside what the transformers library keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune.errors import ModelFileError, UntrustedCodeError
from sentune.files import keys
from sentune.files.folder import ModelFolder, write_json
from sentune.files.keys import Kind
from sentune.files.layout import ModuleType
from sentune.files.modules import adapter_base, adapters, checkpoint, custom, deferred
from sentune.files.modules.custom import Code

# What files of 5.4 and later say of the encoder's part, and the one answer that is understood.
_EXPECTED = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
}
# How the encoder computes, not what.
_NO_MATTER = {"unpad_inputs", "modality_config", "processing_kwargs"}
_KWARGS = ("model_kwargs", "processor_kwargs", "config_kwargs")
_PROCESSING = {
    "max_length": keys.SIZE.or_null(),
    "truncation": Kind(
        "true or 'longest_first'", lambda value: value is True or value in (None, "longest_first")
    ),
}

# Arguments that a file may not set: whether code runs, how weights are opened, where they are from.
_CALLERS_OWN = {
    "trust_remote_code",
    "token",
    "use_auth_token",
    "revision",
    "code_revision",
    "cache_dir",
    "local_files_only",
    "force_download",
    "proxies",
}
_REFUSED = {
    "weights_only",
    "use_safetensors",
    "gguf_file",
    "from_tf",
    "from_flax",
    "state_dict",
    "config",
    "subfolder",
    "device_map",
    "adapter_kwargs",
    "tokenizer_file",
    "vocab_file",
    "merges_file",
}


def read(
    row: ModuleType,
    config: Mapping[str, Any],
    folder: ModelFolder,
    path: Path,
    code: Code,
    given: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]],
) -> nn.Module:
    """A Transformer.

    Args:
        row: Its row of the table.
        config: What its file holds; empty if it has none.
        folder: Its folder.
        path: Its file, for the error.
        code: Which code of the model's own may run.
        given: The caller's `model_kwargs`, `processor_kwargs`, `config_kwargs`; they win over
            those of the file.

    Raises:
        ModelFileError: If a file is missing or damaged.
        UntrustedCodeError: If the encoder brings code of its own that is not allowed to run.
    """
    settings = _settings(row, config, path)
    base = adapter_base.base_of(folder, code)
    checkpoint.check(base, code)
    if base is not folder and checkpoint.has_tokenizer(folder):
        checkpoint.check_tokenizer(folder)
        settings["tokenizer_name_or_path"] = str(folder)
    is_usual = base is folder and not any(
        _beyond_default({**settings[name], **callers})
        for name, callers in zip(_KWARGS, given, strict=True)
    )
    are_pinned = all("code_revision" in callers for callers in given)
    options = code.options() if are_pinned else custom.encoder_options(base, code)
    for name, callers in zip(_KWARGS, given, strict=True):
        settings[name] = {**settings[name], **options, **callers}
    if "model_max_length" in given[_KWARGS.index("processor_kwargs")]:
        settings["max_seq_length"] = None  # the tokenizer says it
    if is_usual and (found := deferred.read(folder, settings)) is not None:
        return found
    try:
        module: Any = row.load_class()(str(base), **settings)
        if base is not folder:
            adapters.attach(module.auto_model, folder)
        return module
    except Exception as error:  # whatever a damaged or hostile file sets off in the libraries
        raise checkpoint.explained(folder, error) from error


def write(row: ModuleType, module: nn.Module, folder: Path, *, safe: bool) -> None:
    """Write a Transformer.

    Args:
        row: Its row of the table.
        module: The module.
        folder: Where to.
        safe: Whether weights go to safetensors; else to a pickle.
    """
    encoder: Any = module.auto_model
    tokenizer: Any = module.tokenizer
    write_encoder = adapters.write if adapters.has_adapter(encoder) else checkpoint.write_encoder
    write_encoder(encoder, folder, safe=safe)
    settings: dict[str, Any] = module.settings()  # type: ignore[operator]
    checkpoint.write_tokenizer(tokenizer, folder, settings["max_seq_length"])
    write_json(folder / str(row.file), {key: settings[key] for key in row.keys})


def _beyond_default(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that ask for something else than what is done without them."""
    return {
        key: value for key, value in options.items() if (key, value) != ("dtype", torch.float32)
    }


def _settings(row: ModuleType, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The constructor's arguments in a file of any generation."""
    for key, expected in _EXPECTED.items():
        if config.get(key) not in (None, expected):
            raise ModelFileError(
                f"{path}: {key!r} is {keys.shown(config[key])}; an embedding model has {expected!r}"
            )
    keys.check(
        config,
        dict.fromkeys((*_KWARGS, *_NO_MATTER - {"unpad_inputs"}), keys.OBJECT.or_null()),
        path,
    )
    keys.refuse_unknown(config, {*row.keys, *_KWARGS, *_EXPECTED, *_NO_MATTER}, path)
    _check_modality(config.get("modality_config") or {}, path)
    limit = _processing_limit(config.get("processing_kwargs") or {}, path)
    return {
        "max_seq_length": config.get("max_seq_length") or limit,
        "do_lower_case": bool(config.get("do_lower_case")),
        **{name: _harmless(config.get(name) or {}, name, path) for name in _KWARGS},
    }


def _check_modality(modalities: Mapping[str, Any], path: Path) -> None:
    """Check that texts go in and the last hidden state comes out."""
    if not modalities:
        return
    text = modalities.get("text")
    output = text.get("method_output_name") if isinstance(text, dict) else None
    method = text.get("method") if isinstance(text, dict) else None
    if (method, output) != ("forward", "last_hidden_state"):
        raise ModelFileError(
            f"{path}: 'modality_config' has {keys.shown(text)} for 'text'; only a model whose "
            "'forward' gives 'last_hidden_state' for texts can be loaded"
        )


def _processing_limit(options: Mapping[str, Any], path: Path) -> int | None:
    """The `max_length` in `processing_kwargs`; no other option may change the tokens."""
    limit = None
    for part in ("common", "text"):
        found = options.get(part) or {}
        keys.check({part: found}, {part: keys.OBJECT}, path)
        keys.check(found, _PROCESSING, path)
        known = {*_PROCESSING, "padding", "pad_to_multiple_of", "return_tensors"}
        if unknown := sorted(key for key in found if key not in known and found[key] is not None):
            raise ModelFileError(
                f"{path}: 'processing_kwargs' sets {unknown} for {part!r}, which is not supported"
            )
        limit = found.get("max_length") or limit
    return limit


def _harmless(options: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Keyword arguments of a file without those that are the caller's to give.

    Raises:
        UntrustedCodeError: If one would open files in another way, or load code.
    """
    for key, value in options.items():
        is_kernel = key == "attn_implementation" and checkpoint.names_a_kernel(value)
        if (key in _REFUSED and value is not None) or is_kernel:
            raise UntrustedCodeError(
                f"{path}: {name!r} sets {key!r} to {keys.shown(value)}, which a file may not do; "
                f"pass {name}={{{key!r}: ...}} yourself if you mean it"
            )
    return {key: value for key, value in options.items() if key not in _CALLERS_OWN | _REFUSED}
