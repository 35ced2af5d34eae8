"""Subclasses of the classes of the table: read and written as those, with their own arguments."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sentune.errors import SettingError
from sentune.files import plan as planning
from sentune.files.layout import ModuleType
from sentune.files.modules import custom
from sentune.files.modules.how import Writing
from sentune.files.plan import ModulePlan
from sentune.files.settings import KWARGS
from sentune.folders.folder import read_json, write_json
from sentune.folders.keys import Kind

_FILE = "config.json"  # for settings of subclasses of a class that has no file
_ANY = Kind("any value", lambda value: True)
# What readers give by position before the settings, by format.
_POSITIONAL = {"transformer": 1, "router": 1, "static_embedding": 2, "word_embeddings": 2}
# Keyword arguments for the libraries that are about access, and say nothing of the model itself.
_ACCESS = {"trust_remote_code", "token", "cache_dir", "local_files_only", "code_revision"}


def planned_as(
    plan: ModulePlan, row: ModuleType, kind: type, *, is_trusted: bool = True
) -> ModulePlan:
    """The plan of a module as one of a row, with the further arguments that its class has."""
    names_of_file = (row.file or _FILE, *row.older_files)
    name = next((one for one in names_of_file if plan.folder.file(one)), _FILE)
    config = plan.folder.read_json(name, dict) or {}
    own = row.load_class()
    names = set(_arguments(kind, own)) | set(getattr(kind, "config_keys", ()))
    if not issubclass(kind, own) and _takes_any(kind):
        names |= config.keys()
    more = names - row.keys.keys() - row.renamed.keys()
    wide = replace(row, keys={**row.keys, **dict.fromkeys(more, _ANY)})
    planned = planning.as_row(plan, wide, is_trusted=is_trusted)
    given = {key: config[key] for key in more if key in config}
    return replace(planned, row=row, settings={**given, **planned.settings})


def maker(kind: type[nn.Module], row: ModuleType) -> Any:
    """What makes a module of a class from the arguments that a reader gives."""

    def make(*args: Any, **settings: Any) -> nn.Module:
        return kind(*args, **_fitted(kind, row, settings))

    make.__name__ = kind.__name__
    return kind if kind is row.load_class() else make


def check(module: nn.Module, row: ModuleType) -> None:
    """Raise a SettingError if a module could not be made again of its settings."""
    kind = type(module)
    settings: dict[str, Any] = module.get_config_dict()  # type: ignore[operator]
    kept = {key: getattr(module, key) for key in row.keys if hasattr(module, key)}
    if row.format == "transformer":
        settings = {**settings, "transformer_task": getattr(module, "transformer_task", None)}
    given = _fitted(kind, row, {**kept, **settings})
    custom.check_taken(kind, _POSITIONAL.get(row.format, 0), given, f"models.{row.name}")
    try:
        json.dumps(_more(module, row))
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"the settings of {kind.__qualname__} cannot be saved ({error}); settings() must give "
            "numbers, strings, lists and dicts"
        ) from error


def write(row: ModuleType, module: nn.Module, folder: Path, how: Writing) -> None:
    """Write a module of a subclass, with its own settings beside those of the row."""
    row.load_format().write(row, module, folder, how)
    if not (more := _more(module, row)):
        return
    path = folder / (row.file or _FILE)
    content = read_json(path, dict) if path.exists() else {}
    (content["parameters"] if row.parts else content).update(more)
    write_json(path, content)


def _more(module: nn.Module, row: ModuleType) -> dict[str, Any]:
    """The settings of a module that the class of the row does not have."""
    settings: dict[str, Any] = module.get_config_dict()  # type: ignore[operator]
    base: Any = row.load_class()
    known = {**base.settings(module), **row.keys}
    return {key: value for key, value in settings.items() if key not in known}


def _fitted(kind: type, row: ModuleType, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names that a constructor takes; without defaults that it does not take."""
    taken = set(_arguments(kind, None))
    older = {key: name for name, key in row.renamed.items()}
    parameters = inspect.signature(row.load_class()).parameters
    fitted = {}
    for name, value in settings.items():
        if name in taken:
            fitted[name] = value
        elif older.get(name) in taken:
            fitted[older[name]] = value
        elif not _is_default(name, value, parameters):
            fitted[name] = value
    return fitted


def _is_default(name: str, value: Any, parameters: Mapping[str, inspect.Parameter]) -> bool:
    if name in KWARGS:
        return not set(value or ()) - _ACCESS
    default = parameters[name].default if name in parameters else inspect.Parameter.empty
    return bool(default is value or (type(default) is type(value) and default == value))


def _arguments(kind: type, end: type | None) -> Iterator[str]:
    """Names that constructors take, up to the class `end` or one that passes on no others."""
    for one in kind.__mro__:
        if one is end:
            return
        made: Any = vars(one).get("__init__")
        if made is None:
            continue
        taken = list(inspect.signature(made).parameters.values())[1:]
        yield from (
            each.name for each in taken if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        )
        if not any(each.kind is each.VAR_KEYWORD for each in taken):
            return


def _takes_any(kind: type) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(kind).parameters.values())
