"""Modules of classes outside the table: a model's own code, run only when that is allowed."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from sentune.compat import stand_in
from sentune.disk.downloads import snapshot_of
from sentune.errors import (
    MissingDependencyError,
    ModelFileError,
    SentuneError,
    SettingError,
    UntrustedCodeError,
    warn,
)
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.folders import weights
from sentune.folders.folder import ModelFolder, write_json
from sentune.folders.source import Code
from sentune.models.files import Files

# Where transformers puts the code of models.
_DYNAMIC = "transformers_modules."


def encoder_options(folder: ModelFolder, code: Code) -> dict[str, Any]:
    """Keyword arguments for transformers' `from_pretrained`; warns if the encoder's code runs.

    Code of one repository at most can be taken at a commit; more than one is an error.
    """
    files = ("config.json", "tokenizer_config.json")
    named = {file: (folder.read_json(file, dict) or {}).get("auto_map") for file in files}
    classes = [name for value in named.values() for name in _texts_in(value)]
    if not (code.is_trusted and classes):
        return code.options()
    repositories = sorted({name.partition("--")[0] for name in classes if "--" in name})
    if len(repositories) > 1:
        where = " and ".join(file for file, value in named.items() if value)
        raise UntrustedCodeError(
            f"{folder}: {where} names code in {', '.join(map(repr, repositories))}; no more than "
            "one repository can be taken at a commit. Look at the code; if you trust it, copy it "
            "into the folder, or pass model_kwargs, config_kwargs and processor_kwargs with a "
            "'code_revision' each"
        )
    repository = repositories[0] if repositories else ""
    commit = code.hub.commit(repository) if repository else None
    who = _where(repository, commit, replace(code, root=folder.path))
    warn(f"running the code of {who}, as allowed by trust_remote_code=True")
    return {**code.options(), **({"code_revision": commit} if commit else {})}


def class_of(type_name: str, code: Code, named_in: Path) -> type[nn.Module]:
    """The class, from a file of the model, of another repository, or of an installed package."""
    repository, _, reference = type_name.rpartition("--")
    module, _, name = reference.rpartition(".")
    what = f"{named_in}: the module type {type_name!r}"
    with _errors_named(what, f"{named_in}: there is no module type {type_name!r}"):
        if repository or ("." not in module and (code.root / f"{module}.py").exists()):
            commit = code.hub.commit(repository) if repository else None
            warn(
                f"running the code of {_where(repository, commit, code)}, file {module}.py, as "
                "allowed by trust_remote_code=True"
            )
            from transformers.dynamic_module_utils import get_cached_module_file

            with stand_in.standing_in():
                file = get_cached_module_file(
                    repository or str(code.root),
                    f"{module}.py",
                    cache_dir=code.hub.cache_folder,
                    token=code.hub.token,
                    local_files_only=code.hub.local_files_only,
                    revision=commit,
                )
            return stand_in.class_in(file, name)
        return getattr(import_module(module), name)


def read(kind: type[nn.Module], plan: ModulePlan, how: Reading) -> nn.Module:
    """A module of a class that is in the model's own code, or in another package."""
    what = f"{plan.folder}: {plan.type_name}"
    with _errors_named(what, f"{what} could not be loaded"):
        return _load(kind, plan.folder, how)


def is_made_as_encoder(kind: type) -> bool:
    """Whether code of a model gives a class a Transformer's constructor and a `load` as up to 4.x.

    Such a `load` takes a folder and nothing else, not even whether code of the encoder may run, so
    the constructor is called in its place, as sentence-transformers does.
    """
    load: Any = getattr(kind, "load", None)
    if not kind.__module__.startswith(_DYNAMIC):
        return False
    if load is None or len(inspect.signature(load).parameters) != 1:
        return False
    taken = inspect.signature(kind).parameters
    return not {"model_args", "config_args", "tokenizer_args", "model_kwargs"}.isdisjoint(taken)


_OWN = f"{Files.__module__.rpartition('.')[0]}."  # the package of sentune's own modules


def has_own(kind: type, name: str) -> bool:
    """Whether a class, or one above it, defines a method that is not just that of sentune's own."""
    owner = next((one for one in kind.__mro__ if name in vars(one)), None)
    return owner is not None and not owner.__module__.startswith(_OWN)


def write(module: nn.Module, folder: Path, how: Writing) -> None:
    """Write a module of a class outside the table, by its own `save` if it has one."""
    save = getattr(module, "save", None)
    if save is None:
        write_json(folder / getattr(module, "config_file_name", "config.json"), _settings(module))
        if module.state_dict():
            weights.write(module.state_dict(), folder, safe=how.safe)
    elif "safe_serialization" in inspect.signature(save).parameters:
        save(str(folder), safe_serialization=how.safe)
    else:
        save(str(folder))


def check_rebuilt(module: nn.Module) -> None:
    """Raise if a module of a class outside the table could not be made again of its settings."""
    kind = type(module)
    if has_own(kind, "load") or has_own(kind, "save"):
        return
    check_taken(kind, 0, _settings(module), "its settings()")


def check_taken(kind: type, positional: int, settings: Mapping[str, Any], whose: str) -> None:
    """Raise a SettingError if a constructor does not take the arguments that a reader gives."""
    try:
        inspect.signature(kind).bind(*[None] * positional, **dict.fromkeys(settings))
    except TypeError as error:
        raise SettingError(
            f"{kind.__qualname__} could not be loaded again: its constructor does not take the "
            f"arguments of {whose} ({error}); let it take them, or give the class a `save` and a "
            "`load` of its own"
        ) from error


def type_name_of(module: nn.Module, root: Path | None = None) -> str:
    """The type name for the file that lists a module; code of a model is copied into `root`."""
    kind = type(module)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if "<locals>" in kind.__qualname__:
        raise SettingError(
            f"the class {name} of a module is defined inside of a function, so that no reader of "
            "the file could find it; define it at the top of a Python file"
        )
    if root is not None and kind.__module__ == "__main__":
        warn(
            f"the module class {kind.__qualname__} is defined in the program itself: only a "
            "program that defines it, too, can load this model. Define it in a file of its own and "
            "import it from there"
        )
    if root is None or not kind.__module__.startswith(_DYNAMIC):
        return name
    source = str(sys.modules[kind.__module__].__file__)
    from transformers.dynamic_module_utils import get_relative_import_files

    for file in (source, *get_relative_import_files(source)):
        shutil.copy(file, root / Path(file).name)
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__qualname__}"


@contextmanager
def _errors_named(what: str, failure: str) -> Iterator[None]:
    """Errors of code that came with a model as those of sentune, which stay as they are."""
    try:
        yield
    except SentuneError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs a package: {error}") from error
    except Exception as error:
        raise ModelFileError(f"{failure}: {error}") from error


def _texts_in(value: Any) -> list[str]:
    """The strings in a value of an `auto_map`: a string, a list, or an object with such."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts_in(one)]


def _where(repository: str, commit: str | None, code: Code) -> str:
    """Whose code it is, and of which commit."""
    name = repository
    if not repository and (snapshot := snapshot_of(code.root)):
        name, commit = snapshot.repo_id, snapshot.commit
    if not commit:
        return repository or str(code.root)
    if repository or code.hub.revision == commit:
        return f"{name} at commit {commit}"
    return f"{name} at commit {commit} (pass revision={commit!r}, and it stays that code)"


def _settings(module: Any) -> dict[str, Any]:
    give: Any = getattr(module, "get_config_dict", None) or getattr(module, "settings", dict)
    found: dict[str, Any] = give()
    return found


def _load(kind: type[nn.Module], folder: ModelFolder, how: Reading) -> nn.Module:
    code, load = how.code, getattr(kind, "load", None)
    if load is None:
        name = getattr(kind, "config_file_name", "config.json")
        module = kind(**(folder.read_json(name, dict) or {}))
        found = weights.read(folder)
        if module.state_dict():
            weights.put(module, *(found or weights.need(folder)))
        return module
    taken = inspect.signature(load).parameters
    if len(taken) == 1:  # up to 4.x: a path and nothing else
        return load(str(folder))
    subfolder = folder.path.relative_to(code.root).as_posix()
    options: dict[str, Any] = {
        "subfolder": "" if subfolder == "." else subfolder,
        "token": code.hub.token,
        "cache_folder": code.hub.cache_folder,
        "revision": code.hub.revision,
        "local_files_only": code.hub.local_files_only,
        "trust_remote_code": True,
        "model_kwargs": dict(how.model_kwargs) or None,
        "processor_kwargs": dict(how.processor_kwargs) or None,
        "config_kwargs": dict(how.config_kwargs) or None,
        "backend": "torch",
    }
    if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        options = {key: value for key, value in options.items() if key in taken}
    return load(str(code.root), **options)
