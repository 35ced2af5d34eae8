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
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

PEER = "sentence_transformers"
# The release whose names are given: what code that asks for `__version__` is told.
_RELEASE = "6.2.0"
# A part of a path -> where the names below it are; the last part that is listed counts.
_PLACES: dict[str, tuple[str, ...]] = {
    PEER: ("sentune",),
    "models": ("sentune.models",),
    "modules": ("sentune.models",),
    "tokenizer": ("sentune.models.tokenizer",),
    "util": ("sentune.util",),
    "similarity_functions": ("sentune.util",),
    "quantization": ("sentune.quantization",),
    "losses": ("sentune.losses",),
    "evaluation": ("sentune.evaluation",),
    "datasets": ("sentune.datasets",),
    "readers": ("sentune.readers",),
    "sampler": ("sentune.sampler",),
    "training_args": ("sentune.training_args",),
    "data_collator": ("sentune.data_collator",),
}
# Parts of paths that hold what is in the package around them.
_PARTS = {
    *("base", "sentence_transformer", "cross_encoder", "model", "trainer", "model_card"),
    *("module", "input_module", "transformer", "pooling", "dense", "normalize", "router"),
    *("static_embedding", "cnn", "lstm", "bow", "dropout", "layer_norm", "word_embeddings"),
    *("word_weights", "weighted_layer_pooling", "logit_score", "phrase", "whitespace", "word"),
    *("similarity", "tensor", "misc", "file_io", "retrieval", "hard_negatives", "logging"),
    *("distributed", "environment"),
}
# Kinds of models whose losses, evaluators and so on have names that others have, too.
_OTHER_KINDS = {"cross_encoder", "sparse_encoder", "multi_vector_encoder"}
_SHARED = {"losses", "evaluation", "trainer", "training_args", "data_collator", "model_card"}

_checking = threading.RLock()


class StandIn(ModuleType):
    """A module of sentence-transformers whose names are looked up in sentune.

    Args:
        name: Its dotted name there.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "Names of sentune, where sentence-transformers has them.")
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> Any:
        """A name of sentune, a module below, or a name of the library itself."""
        if name == "__version__" and self.__name__ == PEER:
            return _RELEASE
        if name == "__all__":
            return [one for place in _places(self.__name__) for one in _exports(place)]
        if not name.startswith("__"):
            for found in (_own, _below, _of_peer):
                value = found(self.__name__, name)
                if value is not None:
                    return value
        raise AttributeError(f"neither sentune nor an installed {PEER} has {self.__name__}.{name}")


def class_in(file: str, name: str) -> type:
    """A class of a file in transformers' folder for code of models.

    Args:
        file: As transformers' `get_cached_module_file` names it.
        name: The class.
    """
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
    """Let the files of a package with code of a model import sentune's names.

    Args:
        package: Its dotted name.
    """
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
        before = (
            {PEER: sys.modules[PEER]} if PEER in sys.modules else {}
        )  # None: not to be imported
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
    above, _, name = path.rpartition(".")
    is_known = path == PEER or name in _PLACES or name in _PARTS or name in _OTHER_KINDS
    if is_known or _own(above, name) is not None:
        if above:
            _module(above)
        return _stand_ins.setdefault(path, StandIn(path))
    if _is_installed():
        return importlib.import_module(path)
    raise ModuleNotFoundError(f"No module named {path!r} in the names of sentune", name=path)


def _own(path: str, name: str) -> Any:
    """What sentune has under a name; None if nothing."""
    for place in _places(path):
        if name in _exports(place):
            found = getattr(importlib.import_module(place), name)
            return None if isinstance(found, ModuleType) else found
    return None


def _below(path: str, name: str) -> ModuleType | None:
    """A module below another one, as an attribute of that; None if it has no such."""
    try:
        return _module(f"{path}.{name}") if name in {*_PLACES, *_PARTS, *_OTHER_KINDS} else None
    except ImportError:
        return None


def _of_peer(path: str, name: str) -> Any:
    """What sentence-transformers itself has under a name; None if it is not installed."""
    if not _is_installed():
        return None
    try:
        return getattr(importlib.import_module(path), name, None)
    except ImportError:
        return None


def _places(path: str) -> tuple[str, ...]:
    """Where names of a module of the library are in sentune."""
    parts = path.split(".")
    if _OTHER_KINDS & set(parts) and _SHARED & set(parts):
        return ()
    return next((_PLACES[part] for part in reversed(parts) if part in _PLACES), ())


def _exports(place: str) -> list[str]:
    """The public names of a module of sentune."""
    module = importlib.import_module(place)
    return list(getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"]))


def _is_installed() -> bool:
    """Whether sentence-transformers itself can be imported."""
    try:
        return not isinstance(sys.modules.get(PEER), StandIn) and find_spec(PEER) is not None
    except (ImportError, ValueError):  # somebody forbids it, or has put another module in its place
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
