"""A Router's folder: its own file, and a folder for each module of its routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sentune.files.layout import ModuleType
from sentune.files.modules import build
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.folders.folder import write_json


def read(plan: ModulePlan, how: Reading, kind: type[nn.Module]) -> nn.Module:
    """A Router."""
    modules = {name: build.build(part, how) for name, part in plan.parts.items()}
    settings = dict(plan.settings)
    structure = settings.pop("structure")
    routes = {route: [modules[name] for name in names] for route, names in structure.items()}
    return kind(routes, **settings)


def write(row: ModuleType, module: nn.Module, folder: Path, how: Writing) -> None:
    """Write a Router; a module that is in several routes is written once."""
    names: dict[int, str] = {}
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for route, children in module.sub_modules.items():  # type: ignore[operator,union-attr]
        structure[route] = []
        for position, child in enumerate(children):
            if id(child) not in names:
                name = _free_name(f"{route}_{position}_{type(child).__name__}", types)
                (folder / name).mkdir()
                types[name] = build.write(child, folder / name, how)
                names[id(child)] = name
            structure[route].append(names[id(child)])
    parameters: dict[str, Any] = {
        "default_route": module.default_route,
        "allow_empty_key": module.allow_empty_key,
    }
    if module.route_mappings:  # readers before 5.4 refuse the key
        mappings: Any = module.route_mappings
        parameters["route_mappings"] = {str(key): route for key, route in mappings.items()}
    content = {str(row.parts): types, "structure": structure, "parameters": parameters}
    write_json(folder / str(row.file), content)


def _free_name(wish: str, taken: Mapping[str, Any]) -> str:
    """A folder name like the one wished for, which no other module has."""
    name = re.sub(r"[^\w.-]", "_", wish)
    while name in taken:
        name += "_"
    return name
