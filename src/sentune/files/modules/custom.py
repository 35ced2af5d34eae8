"""Modules of classes outside the table: a model's own code, run only when that is allowed."""

from __future__ import annotations

import inspect
import shutil
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from sentune.disk.downloads import snapshot_of
from sentune.errors import MissingDependencyError, ModelFileError, UntrustedCodeError, warn
from sentune.files import weights
from sentune.files.folder import ModelFolder, write_json
from sentune.files.layout import MODULES
from sentune.files.source import Hub

# Where transformers puts the code of models.
_DYNAMIC = "transformers_modules."


@dataclass(frozen=True)
class Code:
    """Which code of a model's own may run, and where it is from.

    Args:
        root: The model's folder.
        hub: Where code is that lies in another repository.
        is_trusted: Whether its code may run.
    """

    root: Path
    hub: Hub
    is_trusted: bool = False

    def options(self) -> dict[str, Any]:
        """Keyword arguments for transformers' `from_pretrained`; said in full, or it would ask."""
        if not self.is_trusted:
            return {"trust_remote_code": False}
        return {
            "trust_remote_code": True,
            "token": self.hub.token,
            "cache_dir": self.hub.cache_folder,
            "local_files_only": self.hub.local_files_only,
        }


def encoder_options(folder: ModelFolder, code: Code) -> dict[str, Any]:
    """Keyword arguments for transformers' `from_pretrained`; warns if code of the encoder's runs.

    Args:
        folder: Of an encoder and its tokenizer.
        code: Which code may run.

    Raises:
        UntrustedCodeError: If it would be that of several repositories, of which one at most can be
            taken at a commit.
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


def read(type_name: str, folder: ModelFolder, code: Code, named_in: Path) -> nn.Module:
    """A module of a class that the model brings with it, or that another package has.

    Args:
        type_name: The class, `file.Class` in the model's folder or a dotted name.
        folder: The module's folder.
        code: Which code may run.
        named_in: The file that names the type, for the error.

    Raises:
        UntrustedCodeError: If the model's code is not trusted.
        ModelFileError: If there is no such class, or it cannot be loaded.
    """
    if not code.is_trusted:
        raise UntrustedCodeError(
            f"{named_in}: the module type {type_name!r} is none of sentune's "
            f"({', '.join(MODULES)}), so it would run code that comes with the model or from "
            f"another package. Look at the code in {code.root}; if you trust it, pass "
            "trust_remote_code=True"
        )
    kind = _class_of(type_name, code, named_in)
    try:
        return _load(kind, folder, code)
    except (ModelFileError, ImportError):
        raise
    except Exception as error:  # foreign code
        raise ModelFileError(f"{folder}: {type_name} could not be loaded: {error}") from error


def write(module: nn.Module, folder: Path, root: Path, *, safe: bool) -> str:
    """Write a module of a class outside the table, with its code where it came with a model.

    Args:
        module: The module; its own `save` is used if it has one.
        folder: Where to.
        root: The model's folder, where the code goes.
        safe: Whether weights go to safetensors; else to a pickle.

    Returns:
        The type name.
    """
    save = getattr(module, "save", None)
    if save is None:
        settings: Any = getattr(module, "settings", dict)()
        write_json(folder / getattr(module, "config_file_name", "config.json"), settings)
        if module.state_dict():
            weights.write(module.state_dict(), folder, safe=safe)
    elif "safe_serialization" in inspect.signature(save).parameters:
        save(str(folder), safe_serialization=safe)
    else:
        save(str(folder))
    kind = type(module)
    if not kind.__module__.startswith(_DYNAMIC):
        return f"{kind.__module__}.{kind.__qualname__}"
    source = str(sys.modules[kind.__module__].__file__)
    from transformers.dynamic_module_utils import get_relative_import_files

    for file in (source, *get_relative_import_files(source)):
        shutil.copy(file, root / Path(file).name)
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__qualname__}"


def _texts_in(value: Any) -> list[str]:
    """The strings in a value of an `auto_map`: a string, a list, or an object with such."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts_in(one)]


def _class_of(type_name: str, code: Code, named_in: Path) -> type[nn.Module]:
    """The class, from a file of the model, of another repository, or of an installed package."""
    repository, _, reference = type_name.rpartition("--")
    module, _, name = reference.rpartition(".")
    try:
        if repository or ("." not in module and (code.root / f"{module}.py").exists()):
            commit = code.hub.commit(repository) if repository else None
            warn(
                f"running the code of {_where(repository, commit, code)}, file {module}.py, as "
                "allowed by trust_remote_code=True"
            )
            from transformers.dynamic_module_utils import get_class_from_dynamic_module

            return get_class_from_dynamic_module(
                type_name,
                str(code.root),
                cache_dir=code.hub.cache_folder,
                token=code.hub.token,
                local_files_only=code.hub.local_files_only,
                code_revision=commit,
            )
        return getattr(import_module(module), name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{named_in}: the module type {type_name!r} needs a package: {error}"
        ) from error
    except Exception as error:  # foreign code
        raise ModelFileError(
            f"{named_in}: there is no module type {type_name!r}: {error}"
        ) from error


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


def _load(kind: type[nn.Module], folder: ModelFolder, code: Code) -> nn.Module:
    load: Any = getattr(kind, "load", None)
    if load is None:
        name = getattr(kind, "config_file_name", "config.json")
        module = kind(**(folder.read_json(name, dict) or {}))
        found = weights.read(folder)
        if module.state_dict():
            weights.put(module, *(found or weights.need(folder)))
        return module
    if len(inspect.signature(load).parameters) == 1:  # up to 4.x: a path and nothing else
        return load(str(folder))
    subfolder = folder.path.relative_to(code.root).as_posix()
    return load(
        str(code.root),
        subfolder="" if subfolder == "." else subfolder,
        token=code.hub.token,
        cache_folder=code.hub.cache_folder,
        revision=code.hub.revision,
        local_files_only=code.hub.local_files_only,
        trust_remote_code=True,
        model_kwargs=None,
        processor_kwargs=None,
        config_kwargs=None,
        backend="torch",
    )
