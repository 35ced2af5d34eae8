"""Code of a model that imports `sentence_transformers` runs with sentune alone.

The names that such code imports are those of sentune, found where that library has them in any of
its releases. Only code that came with a model sees them: it gets an `__import__` of its own (in the
`__builtins__` of its modules), which also serves the imports inside its functions. For everybody
else `sentence_transformers` is installed, or not, as it was. What sentune lacks comes from
sentence-transformers itself where that is installed.
"""

from __future__ import annotations

import builtins
import copyreg
import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from sentune.compat.addresses import PEER, Address, row_of

_checking = threading.RLock()


class StandIn(Address):
    """A module of sentence-transformers whose names are looked up in sentune, then in itself."""

    def __getattr__(self, name: str) -> Any:
        """A name of sentune, a module below, or a name of the library itself."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or (found := _of_peer(self.__name__, name)) is None:
                raise
            return found


def class_in(file: str, name: str) -> type:
    """A class of a file in transformers' folder for code of models, named relative to it."""
    from transformers import dynamic_module_utils as files

    module = ".".join(Path(file).with_suffix("").parts)
    path = Path(files.HF_MODULES_CACHE) / file  # type: ignore[attr-defined]
    adopt(module.rpartition(".")[0])
    made = sys.modules.get(module)
    if made is None:
        spec = spec_from_file_location(module, path)
        if spec is None:
            raise ImportError(f"{path} is no file of Python code")
        made = sys.modules.setdefault(module, module_from_spec(spec))
    if not hasattr(made, "__transformers_module_hash__"):  # it has not run yet
        made.__dict__["__builtins__"] = _BUILTINS
    kind = files.get_class_in_module(name, file)
    if kind.__module__.partition(".")[0] == module.partition(".")[0]:
        copyreg.pickle(kind, _reduced)
    return kind


def adopt(package: str) -> None:
    """Let the files of a package with code of a model import sentune's names."""
    for folder in importlib.import_module(package).__path__:
        found = sys.path_importer_cache.get(folder)
        if not isinstance(found, _Finder):
            sys.path_importer_cache[folder] = _Finder(
                folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, SOURCE_SUFFIXES)
            )


@contextmanager
def standing_in() -> Iterator[None]:
    """While transformers checks what the code of a model imports, let it find the library.

    It only asks whether the package can be imported. Nothing changes where that is installed.
    """
    with _checking:
        if _is_installed():
            yield
            return
        # An entry may be None: not to be imported.
        before = {PEER: sys.modules[PEER]} if PEER in sys.modules else {}
        sys.modules[PEER] = _module(PEER)
        try:
            yield
        finally:
            del sys.modules[PEER]
            sys.modules.update(before)


class _Finder(FileFinder):
    """Finds files of code that came with a model."""


class _Loader(SourceFileLoader):
    """Loads a file of code that came with a model."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the file, with an `__import__` of its own."""
        module.__dict__["__builtins__"] = _BUILTINS
        super().exec_module(module)


def _import(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """What an import statement in the code of a model gives."""
    if level or not f"{name}.".startswith(f"{PEER}."):
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    found = _module(name)
    for one in fromlist or ():
        if one != "*" and not hasattr(found, one):
            raise ImportError(
                f"cannot import {one!r} from {name!r}: sentune has no such name; it may be in "
                f"{PEER} itself (pip install sentence-transformers)",
                name=name,
            )
    return found if fromlist else _module(PEER)


_BUILTINS = {**vars(builtins), "__import__": _import}
_stand_ins: dict[str, StandIn] = {}


def _module(path: str) -> ModuleType:
    """A module of the library by its dotted name."""
    address = path.removeprefix(PEER).lstrip(".")
    row = row_of(address)
    if row is not None:
        return _stand_ins.setdefault(path, StandIn(PEER, address, row))
    if _is_installed():
        return importlib.import_module(path)
    raise ModuleNotFoundError(f"No module named {path!r} in the names of sentune", name=path)


def _of_peer(path: str, name: str) -> Any:
    """What sentence-transformers itself has under a name; None if it is not installed."""
    if not _is_installed():
        return None
    try:
        return getattr(importlib.import_module(path), name, None)
    except ImportError:
        return None


def _is_installed() -> bool:
    """Whether sentence-transformers itself can be imported."""
    try:
        return not isinstance(sys.modules.get(PEER), StandIn) and find_spec(PEER) is not None
    except (ImportError, ValueError):  # it was forbidden, or another module is in its place
        return False


def _reduced(module: Any) -> tuple[Any, ...]:
    """How a module whose class came with a model is pickled: another process makes the class."""
    kind: Any = type(module)
    made, arguments, *state = kind.__reduce_ex__(module, 2)
    if (made, arguments) != (copyreg.__newobj__, (kind,)):  # type: ignore[attr-defined]
        return (made, arguments, *state)  # a way of its own
    return (_empty, (kind.__module__, kind.__qualname__), *state)


def _empty(module: str, name: str) -> Any:
    """A module of a class that came with a model, without its state."""
    from transformers.dynamic_module_utils import init_hf_modules

    init_hf_modules()
    adopt(module.rpartition(".")[0])
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    copyreg.pickle(found, _reduced)
    return found.__new__(found)
