"""What the transformers library reads and writes: checked before, explained after, tidied."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from sentune.errors import MissingDependencyError, ModelFileError, UntrustedCodeError
from sentune.files import keys, weights
from sentune.files.folder import ModelFolder, read_json
from sentune.files.keys import Kind
from sentune.files.layout import TOKENIZER
from sentune.files.modules.custom import Code

_ENCODER_FILE = "config.json"
_TOKENIZER_FILE = "tokenizer_config.json"
# The json files that the transformers library reads, each an object.
_OBJECTS = (
    _ENCODER_FILE,
    _TOKENIZER_FILE,
    TOKENIZER,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
# What transformers notes of how a tokenizer was loaded.
_PASSING = {"is_local", "local_files_only"}
_PLAIN_NAME = Kind(
    "the name of a file in the folder",
    lambda value: isinstance(value, str) and value == Path(value).name and value not in ("", ".."),
)
_LAYERS = {"num_hidden_layers", "num_layers", "n_layers", "n_layer"}
_MOST_LAYERS = 1000  # where the number of tensors is not known: pickled weights
_VOCABULARY = re.compile(
    r"tokenizer\.json|(.*vocab.*|merges|dict)\.(txt|json)|.*\.(model|spm|vocab|bpe|codes|tiktoken)"
)
# Tokenizers that read bytes or code points.
_WITHOUT_VOCABULARY = {"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"}


def check(folder: ModelFolder, code: Code) -> None:
    """Check what the transformers library will open, before it does.

    Args:
        folder: The folder of an encoder and its tokenizer.
        code: Which code of the model's own may run.

    Raises:
        ModelFileError: If a file is missing, damaged, or leads out of the folder.
        UntrustedCodeError: If a file asks for code that may not run.
    """
    folder.check_files()
    path = folder.path / _ENCODER_FILE
    config = folder.need_json(_ENCODER_FILE, dict)
    for index in folder.path.glob("*.index.json"):
        keys.check(read_json(index, dict), {"weight_map": _PLAIN_NAME.dict()}, index)
    weights.check_packing(folder)
    tensors = weights.count(folder)
    most = tensors or _MOST_LAYERS
    for key, value in config.items():
        # A layer is built before its weights are looked for, so that each must have some.
        if key in _LAYERS and isinstance(value, int) and not 0 <= value <= most:
            raise ModelFileError(
                f"{path}: {key!r} is {value}; for these weights it is from 0 to {most}"
            )
    for key, value in _all_keys(config):  # a part of an encoder may have a config of its own
        if key.endswith("attn_implementation") and names_a_kernel(value) and not code.is_trusted:
            raise UntrustedCodeError(f"{path}: {key!r} is {value!r}, which would load code")
    check_tokenizer(folder)


def has_tokenizer(folder: ModelFolder) -> bool:
    """Whether a folder has files of a tokenizer.

    Args:
        folder: The folder.
    """
    names = [path.name for path in folder.path.iterdir()]
    return _TOKENIZER_FILE in names or any(map(_VOCABULARY.fullmatch, names))


def check_tokenizer(folder: ModelFolder) -> None:
    """Check that there is a vocabulary, and that it is the folder's own.

    Args:
        folder: The folder of a tokenizer.

    Raises:
        ModelFileError: If a file is missing, damaged, or leads out of the folder.
    """
    folder.check_files()
    path = folder.path / _TOKENIZER_FILE
    config = folder.read_json(_TOKENIZER_FILE, dict) or {}
    for key in ("vocab", "merges"):  # transformers would open a file of that name, wherever it is
        if isinstance(config.get(key), str):
            raise ModelFileError(f"{path}: {key!r} names the file {keys.shown(config[key])}")
    keys.check(config, {"fast_tokenizer_files": _PLAIN_NAME.list()}, path)
    kind = config.get("tokenizer_class")
    names = [file.name for file in folder.path.iterdir() if _VOCABULARY.fullmatch(file.name)]
    has_words = any(folder.text_file(name) for name in names)
    # Without a vocabulary, transformers would make an empty tokenizer.
    if not has_words and kind not in _WITHOUT_VOCABULARY and "auto_map" not in config:
        raise ModelFileError(
            f"{folder.path / TOKENIZER} is missing, and there is no other file with a vocabulary"
        )


def explained(folder: ModelFolder, error: Exception) -> Exception:
    """The error for a Transformer that could not be loaded, naming the file if it can be told.

    Args:
        folder: The folder of the encoder and its tokenizer.
        error: What came of loading it.
    """
    text = str(error)
    if isinstance(error, ImportError):
        return MissingDependencyError(f"{folder}: the encoder needs a package: {text}")
    if "trust_remote_code" in text:
        return UntrustedCodeError(f"{folder} brings code of its own: {text}")
    try:
        for name in _OBJECTS:
            folder.read_json(name, dict)
        weights.check_pickles(folder)
    except ModelFileError as damage:
        return damage
    if isinstance(error, ModelFileError):
        return error
    names = ", ".join(sorted(path.name for path in folder.path.iterdir() if path.is_file()))
    return ModelFileError(f"no encoder and tokenizer can be made of {folder} ({names}): {text}")


def _all_keys(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of an object and of those inside it, with their values."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, dict):
            yield from _all_keys(value)


def names_a_kernel(value: Any) -> bool:
    """Whether an attention implementation is code on the Hub, `owner/repository`.

    Args:
        value: What a file says of it.
    """
    return isinstance(value, str) and ("/" in value or ":" in value)


def write_encoder(encoder: Any, folder: Path, *, safe: bool) -> None:
    """Write an encoder of the transformers library.

    Args:
        encoder: The encoder.
        folder: Where to.
        safe: Whether weights go to safetensors; else to a pickle, which the library no longer
            writes by itself.
    """
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

    Where it was loaded from is not the next reader's business; and its class goes by the name it
    had before transformers 5, which later releases know too.

    Args:
        tokenizer: The tokenizer.
        folder: Where to.
        limit: The length limit, which readers since 5.4 look for here; None for the tokenizer's.
    """
    tokenizer.save_pretrained(folder)
    path = folder / _TOKENIZER_FILE
    if not path.exists():
        return
    config = {key: value for key, value in read_json(path, dict).items() if key not in _PASSING}
    if limit is not None:
        config["model_max_length"] = limit
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")  # in the form that transformers gives this file
