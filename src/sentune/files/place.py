"""Moving a finished folder into place, all of it or nothing."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentune.errors import ModelFileError
from sentune.files import layout
from sentune.files.folder import read_json

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
    """Whether a file of this name is part of a model, in its folder or in those of its modules.

    Args:
        name: The file's name.
    """
    return _MODEL_FILES.fullmatch(name) is not None


def move_into(draft: Path, target: Path) -> None:
    """Move the files of a folder into another; what they replace goes when all are there.

    Files of an earlier model go, other files stay.

    Args:
        draft: The finished folder, on the same disk; what is left of it is empty.
        target: Where its files go; made if it is not there.
    """
    if not target.exists():
        os.rename(draft, target)
        return
    fresh = sorted(path.relative_to(draft) for path in draft.rglob("*") if path.is_file())
    folders = [path.relative_to(draft) for path in draft.rglob("*") if path.is_dir()]
    old_folders = [path.relative_to(target) for path in _module_folders(target)]
    stale = sorted(set(_model_files(target)) - set(fresh))
    aside = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    leaving = [path for path in (*fresh, *stale) if os.path.lexists(target / path)]
    moves = [(target / path, aside / path) for path in leaving]
    _move_all([*moves, *((draft / path, target / path) for path in fresh)])
    shutil.rmtree(aside, ignore_errors=True)
    for folder in folders:  # a module without files has an empty one
        (target / folder).mkdir(parents=True, exist_ok=True)
    for folder in reversed(old_folders):  # those inside come after those around them
        if folder not in folders and not any((target / folder).iterdir()):
            (target / folder).rmdir()


def _move_all(moves: list[tuple[Path, Path]]) -> None:
    """Rename each to its new place; if one fails, all go back."""
    done: list[tuple[Path, Path]] = []
    made: list[Path] = []
    try:
        for start, end in moves:
            made += [path for path in end.parents if not path.exists()]
            end.parent.mkdir(parents=True, exist_ok=True)
            os.rename(start, end)
            done.append((start, end))
    except OSError:
        for start, end in reversed(done):
            os.rename(end, start)
        for folder in sorted(set(made), reverse=True):
            folder.rmdir()
        raise


def _model_files(folder: Path) -> Iterator[Path]:
    """Paths, below a folder, of the files of the model that is in it."""
    if not any((folder / name).exists() for name in (layout.MODULES_FILE, "config.json")):
        return
    for home in (folder, *_module_folders(folder)):
        for path in home.iterdir():
            if is_model_file(path.name) and not path.is_dir():
                yield path.relative_to(folder)


def _module_folders(folder: Path) -> Iterator[Path]:
    """The folders that the lists in a folder name, and those that lists in them name."""
    listed: Any = _read(folder / layout.MODULES_FILE, list)
    names = [entry.get("path") for entry in listed if isinstance(entry, dict)]
    types: Any = _read(folder / str(layout.MODULES["Router"].file), dict).get("types", {})
    names += types if isinstance(types, dict) else []
    for name in names:
        # One plain name: a path that leads elsewhere is not ours to tidy.
        if isinstance(name, str) and name and name == Path(name).name and (folder / name).is_dir():
            if not (folder / name).is_symlink():
                yield folder / name
                yield from _module_folders(folder / name)


def _read(path: Path, kind: type) -> Any:
    """What a json file holds; nothing if it is missing or damaged."""
    try:
        return read_json(path, kind)
    except ModelFileError:
        return kind()
