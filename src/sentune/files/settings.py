"""What a module's file holds, of any generation -> its settings of today, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sentune.engine.tasks import FEATURES, TASKS
from sentune.errors import ModelFileError, UntrustedCodeError
from sentune.folders import keys
from sentune.folders.folder import ModelFolder
from sentune.folders.keys import Kind

# Row of the table, what its file holds, the file -> settings.
Understood: TypeAlias = Callable[[Any, Mapping[str, Any], Path], dict[str, Any]]

# The old flags of Pooling, in the order in which their results were joined.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Arguments that a Transformer's file may hold for transformers' `from_pretrained`.
KWARGS = ("model_kwargs", "processor_kwargs", "config_kwargs")
# How the encoder computes, not what.
_NO_MATTER = {"unpad_inputs", "modality_config", "processing_kwargs"}
_TRUNCATION = Kind("true or 'longest_first'", lambda x: x is True or x in (None, "longest_first"))
_PROCESSING = {"max_length": keys.SIZE.or_null(), "truncation": _TRUNCATION}
# Arguments that a file may not set: whether code runs, how weights are opened, where they are from.
_CALLERS_OWN = {
    *("trust_remote_code", "token", "use_auth_token", "revision", "code_revision", "cache_dir"),
    *("local_files_only", "force_download", "proxies"),
}
_REFUSED = {
    *("weights_only", "use_safetensors", "gguf_file", "from_tf", "from_flax", "state_dict"),
    *("config", "subfolder", "device_map", "adapter_kwargs"),
    *("tokenizer_file", "vocab_file", "merges_file"),
}


def of(row: Any, folder: ModelFolder) -> tuple[dict[str, Any], Path]:
    """The settings in a module's file, checked, under the names of today; and the file.

    Where a file has a key under its old and its new name, the new one counts.
    """
    if row.file is None:
        return {}, folder.path
    names = (row.file, *row.older_files)
    name = next((name for name in names if folder.file(name) is not None), row.file)
    path = folder.path / name
    config = folder.read_json(name, dict) if row.is_lenient else folder.need_json(name, dict)
    return row.understood(row, config or {}, path), path


def plain(row: Any, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings of most modules: the keys of the row and no others."""
    return _known(row, _renamed(row, config, path), path)


def of_pooling(row: Any, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Those of Pooling, whose modes were flags up to 5.3."""
    keys.check(config, dict.fromkeys(POOLING_FLAGS, keys.FLAG), path)
    settings = _renamed(row, config, path)
    modes = [mode for flag, mode in POOLING_FLAGS.items() if settings.get(flag)]
    rest = {key: value for key, value in settings.items() if key not in POOLING_FLAGS}
    if "pooling_mode" not in rest:
        rest["pooling_mode"] = modes[0] if len(modes) == 1 else modes or "mean"
    return _known(row, rest, path)


def flags_of_modes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a Pooling's file is to hold: flags, and a list where they cannot say the order."""
    given = settings["pooling_mode"]
    modes = [given] if isinstance(given, str) else list(given)
    flags = {flag: mode in modes for flag, mode in POOLING_FLAGS.items()}
    config = {"embedding_dimension": settings["embedding_dimension"], **flags}
    config["include_prompt"] = settings["include_prompt"]
    if modes != [mode for mode in POOLING_FLAGS.values() if mode in modes]:
        # Old readers refuse the key, which is better than a vector whose parts have changed places.
        config["pooling_mode"] = modes
    return config


def of_transformer(row: Any, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The constructor's arguments of a Transformer."""
    settings = _renamed(row, config, path)
    task = settings.get("transformer_task") or FEATURES
    keys.check({"transformer_task": task}, {"transformer_task": keys.one_of(*TASKS)}, path)
    given = TASKS[task].given
    if settings.get("module_output_name") not in (None, given):
        raise ModelFileError(
            f"{path}: 'module_output_name' is {keys.shown(settings['module_output_name'])}; "
            f"with 'transformer_task' {task!r} it is {given!r}"
        )
    objects = dict.fromkeys((*KWARGS, *_NO_MATTER - {"unpad_inputs"}), keys.OBJECT.or_null())
    keys.check(settings, objects, path)
    known = {*row.keys, *KWARGS, *_NO_MATTER, "transformer_task", "module_output_name"}
    keys.refuse_unknown(settings, known, path)
    _check_modality(settings.get("modality_config") or {}, TASKS[task].field, path)
    limit = _processing_limit(settings.get("processing_kwargs") or {}, path)
    return {
        "max_seq_length": settings.get("max_seq_length") or limit,
        "do_lower_case": bool(settings.get("do_lower_case")),
        "transformer_task": task,
        **{name: _harmless(settings.get(name) or {}, name, path) for name in KWARGS},
    }


def said_of_task(task: str, *, is_chat: bool) -> dict[str, Any]:
    """What a Transformer's file says of another task than making embeddings."""
    if task == FEATURES:
        return {}
    modalities = {"text": {"method": "forward", "method_output_name": TASKS[task].field}}
    if is_chat:  # texts go through a chat template
        modalities["message"] = {**modalities["text"], "format": "flat"}
    given = TASKS[task].given
    return {"transformer_task": task, "modality_config": modalities, "module_output_name": given}


def of_router(row: Any, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The constructor's arguments of a Router, and `structure`: the modules of each route."""
    kinds = {row.parts: keys.TEXT.dict(), "structure": keys.TEXT.list().dict()}
    keys.need(config, kinds, path)
    keys.check(config, {**kinds, "parameters": keys.OBJECT}, path)
    parameters = config.get("parameters", {})
    keys.check(parameters, row.keys, path)
    keys.refuse_unknown(parameters, row.keys, path)
    for route, names in config["structure"].items():
        for name in names:
            if name not in config[row.parts]:
                raise ModelFileError(
                    f"{path}: route {route!r} has the module {name!r}, which {row.parts!r} does "
                    "not have"
                )
    used = {name for names in config["structure"].values() for name in names}
    parts = {name: kind for name, kind in config[row.parts].items() if name in used}
    return {**parameters, row.parts: parts, "structure": config["structure"]}


def _renamed(row: Any, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a file holds under the names of today, checked."""
    named = {row.renamed.get(key, key): value for key, value in config.items()}
    settings = {**named, **{key: config[key] for key in config if key not in row.renamed}}
    keys.need(settings, row.needs, path)
    # Under the older names, so that an error names the key that is in the file.
    pairs = row.renamed.items()
    older = {old: row.keys[new] for old, new in pairs if new in row.keys and new not in config}
    keys.check(config, {**row.keys, **older}, path)
    return settings


def _known(row: Any, settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if not row.is_lenient:
        keys.refuse_unknown(settings, row.keys, path)
    return {key: value for key, value in settings.items() if key in row.keys}


def _check_modality(modalities: Mapping[str, Any], output: str, path: Path) -> None:
    """Check that texts go in and what the task gives comes out."""
    if not modalities:
        return
    text = modalities.get("text")
    said = text if isinstance(text, dict) else {}
    if (said.get("method"), said.get("method_output_name")) != ("forward", output):
        raise ModelFileError(
            f"{path}: 'modality_config' has {keys.shown(text)} for 'text'; only a model whose "
            f"'forward' gives {output!r} for texts can be loaded"
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

    An UntrustedCodeError if one would open files in another way, or load code.
    """
    for key, value in options.items():
        is_kernel = key == "attn_implementation" and names_a_kernel(value)
        if (key in _REFUSED and value is not None) or is_kernel:
            raise UntrustedCodeError(
                f"{path}: {name!r} sets {key!r} to {keys.shown(value)}, which a file may not do; "
                f"pass {name}={{{key!r}: ...}} yourself if you mean it"
            )
    return {key: value for key, value in options.items() if key not in _CALLERS_OWN | _REFUSED}


def names_a_kernel(value: Any) -> bool:
    """Whether an attention implementation is code on the Hub, `owner/repository`."""
    return isinstance(value, str) and ("/" in value or ":" in value)
