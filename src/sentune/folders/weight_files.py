"""Files of weights, of which only the heads are read: without torch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sentune.disk import pointers
from sentune.errors import MissingModelError, ModelFileError
from sentune.folders.folder import ModelFolder
from sentune.folders.names import PICKLE, SAFETENSORS

# The files that may hold a module's weights, the preferred one first.
NAMES = (SAFETENSORS, PICKLE)


def found(folder: ModelFolder, names: tuple[str, str] = NAMES) -> Path | None:
    """The file of weights in a folder, by the first name that is there; None if there is none."""
    files = (folder.file(name) for name in names)
    return next((path for path in files if path is not None), None)


def need(folder: ModelFolder, names: tuple[str, str] = NAMES) -> Path:
    """As `found`, but there must be one."""
    path = found(folder, names)
    if path is None:
        raise MissingModelError(f"{folder.path / names[0]} is missing, and there is no {names[1]}")
    return path


def count(folder: ModelFolder) -> int:
    """How many tensors the safetensors files of a folder hold, of which only the heads are read."""
    number = 0
    for path in sorted(folder.path.glob("*.safetensors")):
        with damage_named(path), safe_open(path, "np") as file:
            number += len(file.keys())
    return number


def refuse_packed(path: Path) -> None:
    """Raise if a pickle of weights is packed, so that it may take far more memory than its size."""
    try:
        with zipfile.ZipFile(path) as file:
            kinds = {info.compress_type for info in file.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        if path.is_file() and (pointer := pointers.advice(path)):
            raise ModelFileError(pointer) from None
        return  # an older kind of pickle, or a damaged one: its reader says so
    if kinds - {zipfile.ZIP_STORED}:
        raise ModelFileError(
            f"{path} is a packed zip, which torch does not write; save it again with torch.save"
        )


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Errors of a reader of weights as a ModelFileError that names the file."""
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        what_to_do = f"{path} is damaged ({error}); download or save the model again"
        pointer = pointers.advice(path) if path.is_file() else None
        raise ModelFileError(pointer or what_to_do) from error
