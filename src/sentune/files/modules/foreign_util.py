"""Functions for files under the names that code written for sentence-transformers calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from sentune.errors import SettingError
from sentune.files.modules.how import Reading
from sentune.folders.folder import ModelFolder
from sentune.folders.source import local_folder

__all__ = ["import_from_string", "load_dir_path", "load_file_path"]

# How the model is read that is being loaded; None outside of that.
reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def reads(how: Reading) -> Iterator[None]:
    """While the code of a model loads a module.

    Args:
        how: How the model is read.
    """
    before = reading.set(how)
    try:
        yield
    finally:
        reading.reset(before)


def load_file_path(
    model_name_or_path: str, filename: str, subfolder: str = "", **access: Any
) -> str | None:
    """The path of a file of a model; None if there is no such file.

    Args:
        model_name_or_path: A folder; while a model is loaded, also an id on the Hub.
        filename: The file, seen from the subfolder.
        subfolder: A folder in that of the model.
        **access: `revision`, if it is to be another one; the rest is that of the loaded model.

    Raises:
        ModelFileError: If the path leads out of the folder.
    """
    path = PurePosixPath(filename)
    folder = folder_of(model_name_or_path, subfolder, access.get("revision"))
    found = folder.sub(str(path.parent), folder.path).file(path.name)
    return None if found is None else str(found)


def load_dir_path(model_name_or_path: str, subfolder: str = "", **access: Any) -> str | None:
    """The path of a folder of a model; None if there is no such folder.

    Args:
        model_name_or_path: As in `load_file_path`.
        subfolder: A folder in that of the model.
        **access: As in `load_file_path`.

    Raises:
        ModelFileError: If the path leads out of the folder.
    """
    folder = folder_of(model_name_or_path, subfolder, access.get("revision"))
    return str(folder.path) if folder.exists() else None


def import_from_string(dotted_path: str) -> Any:
    """What a dotted name stands for, as the class of an activation.

    Args:
        dotted_path: A module and a name in it, joined by a dot.

    Raises:
        ImportError: If there is no such thing.
    """
    module, _, name = dotted_path.rpartition(".")
    if not module:
        raise ImportError(f"{dotted_path!r} names no module; give one as 'torch.nn.Tanh'")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"there is no {name!r} in {module}") from error


def folder_of(name: str, subfolder: str = "", revision: str | None = None) -> ModelFolder:
    """A folder of a model.

    Args:
        name: A folder; while a model is loaded, also an id on the Hub.
        subfolder: A folder in it.
        revision: A revision of the model on the Hub; None for that of the loaded model.

    Raises:
        SettingError: If it is neither.
        ModelFileError: If the subfolder leads out of it.
    """
    path, how = Path(name), reading.get()
    if path.is_dir():
        return local_folder(path).sub(subfolder, path)
    if how is None:
        raise SettingError(f"{name!r} is no folder; name one, or download the model before")
    hub = how.code.hub if revision is None else how.code.hub.at(revision)
    snapshot = hub.fetch(str(name), with_code=False)
    return ModelFolder(snapshot.path, snapshot.roots).sub(subfolder, path)


def options_of(how: Reading, **given: Any) -> Reading:
    """How a module is read for which code of a model gives options of its own."""
    more: Any = {name: {**getattr(how, name), **(value or {})} for name, value in given.items()}
    return replace(how, **more)
