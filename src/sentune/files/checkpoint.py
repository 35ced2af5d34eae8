"""What the transformers library will open, checked before it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentune.errors import MissingModelError, ModelFileError, UntrustedCodeError
from sentune.files.settings import names_a_kernel
from sentune.folders import keys, weight_files
from sentune.folders.folder import ModelFolder, read_json
from sentune.folders.keys import Kind
from sentune.folders.names import ENCODER_FILE, TOKENIZER, TOKENIZER_FILE

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


def check(folder: ModelFolder, *, is_trusted: bool) -> None:
    """Check what the transformers library will open, before it does."""
    folder.check_files()
    path = folder.path / ENCODER_FILE
    config = folder.need_json(ENCODER_FILE, dict)
    for index in folder.path.glob("*.index.json"):
        keys.check(read_json(index, dict), {"weight_map": _PLAIN_NAME.dict()}, index)
    for pickled in sorted(folder.path.glob("*.bin")):
        weight_files.refuse_packed(pickled)
    tensors = weight_files.count(folder)
    most = tensors or _MOST_LAYERS
    for key, value in config.items():
        # A layer is built before its weights are looked for, so that each must have some.
        if key in _LAYERS and isinstance(value, int) and not 0 <= value <= most:
            raise ModelFileError(
                f"{path}: {key!r} is {value}; for these weights it is from 0 to {most}"
            )
    for key, value in _all_keys(config):  # a part of an encoder may have a config of its own
        if key.endswith("attn_implementation") and names_a_kernel(value) and not is_trusted:
            raise UntrustedCodeError(f"{path}: {key!r} is {value!r}, which would load code")
    check_tokenizer(folder)


def has_tokenizer(folder: ModelFolder) -> bool:
    """Whether a folder has files of a tokenizer."""
    names = [path.name for path in folder.path.iterdir()]
    return TOKENIZER_FILE in names or any(map(_VOCABULARY.fullmatch, names))


def check_tokenizer(folder: ModelFolder) -> None:
    """Check that there is a vocabulary, and that it is the folder's own."""
    folder.check_files()
    path = folder.path / TOKENIZER_FILE
    config = folder.read_json(TOKENIZER_FILE, dict) or {}
    for key in ("vocab", "merges"):  # transformers would open a file of that name, wherever it is
        if isinstance(config.get(key), str):
            raise ModelFileError(f"{path}: {key!r} names the file {keys.shown(config[key])}")
    keys.check(config, {"fast_tokenizer_files": _PLAIN_NAME.list()}, path)
    kind = config.get("tokenizer_class")
    names = [file.name for file in folder.path.iterdir() if _VOCABULARY.fullmatch(file.name)]
    has_words = any(folder.text_file(name) for name in names)
    # Without a vocabulary, transformers would make an empty tokenizer.
    if not has_words and kind not in _WITHOUT_VOCABULARY and "auto_map" not in config:
        raise MissingModelError(
            f"{folder.path / TOKENIZER} is missing, and there is no other file with a vocabulary"
        )


def _all_keys(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of an object and of those inside it, with their values."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, dict):
            yield from _all_keys(value)
