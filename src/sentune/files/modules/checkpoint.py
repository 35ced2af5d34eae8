"""What the transformers library reads and writes: explained after, tidied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from sentune.errors import MissingDependencyError, ModelFileError, UntrustedCodeError
from sentune.folders import weights
from sentune.folders.folder import ModelFolder, read_json
from sentune.folders.names import ENCODER_FILE, TOKENIZER, TOKENIZER_FILE

# The json files that the transformers library reads, each an object.
_OBJECTS = (
    ENCODER_FILE,
    TOKENIZER_FILE,
    TOKENIZER,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
# What transformers notes of how a tokenizer was loaded.
_PASSING = {"is_local", "local_files_only"}


def explained(folder: ModelFolder, error: Exception) -> Exception:
    """The error for a Transformer that could not be loaded, naming the file if it is known."""
    text = str(error)
    if isinstance(error, ImportError):
        return MissingDependencyError(f"{folder}: the encoder needs a package: {text}")
    if "trust_remote_code" in text:
        return UntrustedCodeError(f"{folder} brings code of its own: {text}")
    try:
        for name in _OBJECTS:
            folder.read_json(name, dict)
        for path in sorted(folder.path.glob("pytorch_model*.bin")):
            weights.read_file(path)
    except ModelFileError as damage:
        return damage
    if isinstance(error, ModelFileError):
        return error
    names = ", ".join(sorted(path.name for path in folder.path.iterdir() if path.is_file()))
    return ModelFileError(f"no encoder and tokenizer can be made of {folder} ({names}): {text}")


def write_encoder(encoder: Any, folder: Path, *, safe: bool) -> None:
    """Write an encoder of transformers; unless `safe`, as a pickle, which it no longer writes."""
    from sentune.engine.encoders import no_bar

    with no_bar():
        encoder.save_pretrained(folder)
    if safe:
        return
    shards = sorted(folder.glob("*.safetensors"))
    tensors = {name: tensor for file in shards for name, tensor in load_file(file).items()}
    weights.write(tensors, folder, safe=False)
    for file in (*shards, *folder.glob("*.safetensors.index.json")):
        file.unlink()


def write_tokenizer(tokenizer: Any, folder: Path, limit: int | None = None) -> None:
    """Write a transformers tokenizer, in a form that depends on the tokenizer alone.

    Where it was loaded from is left out, and its class has the name it had before transformers 5,
    which later releases know too. Readers since 5.4 look for the length limit here.
    """
    tokenizer.save_pretrained(folder)
    path = folder / TOKENIZER_FILE
    if not path.exists():
        return
    config = {key: value for key, value in read_json(path, dict).items() if key not in _PASSING}
    if limit is not None:
        # Some have a second limit, of their tokenizer.json; fastembed takes the smaller one.
        config.update(dict.fromkeys({"model_max_length", *({"max_length"} & config.keys())}, limit))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")  # in the form that transformers gives this file
