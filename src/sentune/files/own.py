"""Which files of a folder are a model's own: they go when another model is saved there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentune.errors import ModelFileError
from sentune.files import layout
from sentune.folders.folder import read_json
from sentune.folders.names import MODULES_FILE

# What a model leaves in its folder and in those of its modules.
_MODEL_FILES = re.compile(
    r"(modules|config|tokenizer|special_tokens_map|added_tokens|vocab)\.json"
    r"|config_sentence_transformers\.json"
    r"|(sentence_[\w-]+|tokenizer|generation|adapter|preprocessor|processor)_config\.json"
    r"|(router|cnn|lstm|wordembedding|whitespacetokenizer|phrasetokenizer)_config\.json"
    r"|(adapter_)?model(-\d+-of-\d+)?\.safetensors|(pytorch_|adapter_)model(-\d+-of-\d+)?\.bin"
    r"|(model\.safetensors|pytorch_model\.bin)\.index\.json"
    r"|(vocab|merges)\.txt|(sentencepiece\.bpe|spiece|spm|tokenizer)\.model|chat_template\.jinja"
)


def is_model_file(name: str) -> bool:
    """Whether a file of this name is part of a model, in its folder or in those of its modules."""
    return _MODEL_FILES.fullmatch(name) is not None


def own(folder: Path) -> Iterator[Path]:
    """The files of the model in a folder and the folders of its modules, relative; or none."""
    if not any((folder / name).exists() for name in (MODULES_FILE, "config.json")):
        return
    for home in (folder, *_module_folders(folder)):
        if home != folder:
            yield home.relative_to(folder)
        for path in home.iterdir():
            if is_model_file(path.name) and not path.is_dir():
                yield path.relative_to(folder)


def _module_folders(folder: Path) -> Iterator[Path]:
    """The folders that the lists in a folder name, and those that lists in them name."""
    listed: Any = _read(folder / MODULES_FILE, list)
    names = [entry.get("path") for entry in listed if isinstance(entry, dict)]
    for row in layout.MODULES.values():
        if row.parts:
            types: Any = _read(folder / str(row.file), dict).get(row.parts, {})
            names += types if isinstance(types, dict) else []
    for name in names:
        # One plain name: what a path or a link leads to elsewhere is not deleted.
        if isinstance(name, str) and name and name == Path(name).name:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                yield path
                yield from _module_folders(path)


def _read(path: Path, kind: type) -> Any:
    """What a json file holds; nothing if it is missing or damaged."""
    try:
        return read_json(path, kind)
    except ModelFileError:
        return kind()
