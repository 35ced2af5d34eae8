"""A Router's folder: its own file, and a folder for each module of its routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sentune.errors import ModelFileError
from sentune.files import keys
from sentune.files.folder import ModelFolder, write_json
from sentune.files.layout import ModuleType

_PARTS = {
    "types": keys.TEXT.dict(),
    "structure": keys.TEXT.list().dict(),
    "parameters": keys.OBJECT,
}


def read(
    row: ModuleType,
    config: Mapping[str, Any],
    folder: ModelFolder,
    path: Path,
    read_module: Callable[[str, ModelFolder, Path], nn.Module],
) -> nn.Module:
    """A Router.

    Args:
        row: Its row of the table.
        config: What its file holds.
        folder: Its folder.
        path: Its file.
        read_module: Reads a module by type name, folder and the file that names them.

    Raises:
        ModelFileError: If its file does not describe routes, or a module is damaged.
    """
    keys.need(config, ("types", "structure"), path)
    keys.check(config, _PARTS, path)
    parameters = config.get("parameters", {})
    keys.check(parameters, row.keys, path)
    keys.refuse_unknown(parameters, row.keys, path)
    types, structure = config["types"], config["structure"]
    for route, names in structure.items():
        for name in names:
            if name not in types:
                raise ModelFileError(
                    f"{path}: route {route!r} has the module {name!r}, which 'types' does not have"
                )
    used = {name for names in structure.values() for name in names}
    modules = {
        name: read_module(types[name], folder.sub(name, path), path)
        for name in types
        if name in used
    }
    routes = {route: [modules[name] for name in names] for route, names in structure.items()}
    return row.load_class()(routes, **parameters)


def write(
    row: ModuleType, module: nn.Module, folder: Path, write_module: Callable[[nn.Module, Path], str]
) -> None:
    """Write a Router; a module that stands in several routes is written once.

    Args:
        row: Its row of the table.
        module: The Router.
        folder: Where to.
        write_module: Writes a module into a folder and gives its type name.
    """
    names: dict[int, str] = {}
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for route, children in module.sub_modules.items():  # type: ignore[operator,union-attr]
        structure[route] = []
        for position, child in enumerate(children):
            if id(child) not in names:
                name = _free_name(f"{route}_{position}_{type(child).__name__}", types)
                (folder / name).mkdir()
                types[name] = write_module(child, folder / name)
                names[id(child)] = name
            structure[route].append(names[id(child)])
    parameters: dict[str, Any] = {
        "default_route": module.default_route,
        "allow_empty_key": module.allow_empty_key,
    }
    if module.route_mappings:  # readers before 5.4 refuse the key
        mappings: Any = module.route_mappings
        parameters["route_mappings"] = {str(key): route for key, route in mappings.items()}
    content = {"types": types, "structure": structure, "parameters": parameters}
    write_json(folder / str(row.file), content)


def _free_name(wish: str, taken: Mapping[str, Any]) -> str:
    """A folder name like the one wished for, which no other module has."""
    name = re.sub(r"[^\w.-]", "_", wish)
    while name in taken:
        name += "_"
    return name
