"""One module from its plan, and into its folder: by its row of the table, or by code of its own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from torch import nn

from sentune.errors import HubError, ModelFileError
from sentune.files import layout
from sentune.files.layout import ModuleType
from sentune.files.modules import custom, subclass
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan


def build(plan: ModulePlan, how: Reading) -> nn.Module:
    """A module; an error if its files are damaged, or if it would run code and may not."""
    if plan.row is not None:
        return of_kind(plan, plan.row, how, plan.row.load_class())
    kind = custom.class_of(plan.type_name, how.code, plan.listed_in)
    row = layout.base_type_of(kind)
    if custom.is_made_as_encoder(kind):
        row = layout.MODULES["Transformer"]
    elif row is None or custom.has_own(kind, "load"):
        return custom.read(kind, plan, how)
    return of_kind(subclass.planned_as(plan, row, kind), row, how, kind)


def of_kind(plan: ModulePlan, row: ModuleType, how: Reading, kind: type[nn.Module]) -> nn.Module:
    """A module of a class that is read as one of the table."""
    try:
        return row.load_format().read(plan, how, subclass.maker(kind, row))
    except (ModelFileError, HubError, ImportError):
        raise
    except Exception as error:  # whatever a damaged or hostile file sets off in a constructor
        raise ModelFileError(
            f"{plan.path}: {kind.__name__} cannot be built from it: {error}"
        ) from error


def write(module: nn.Module, folder: Path, how: Writing) -> str:
    """Write a module into its folder; gives the type name for the file that lists it."""
    check(module)
    own, row = layout.type_of(module), _row_for(module)
    if own is not None:
        own.load_format().write(own, module, folder, how)
        return own.written_name
    if row is None:
        custom.write(module, folder, how)
    else:
        subclass.write(row, module, folder, how)
    return custom.type_name_of(module, how.root)


def check(module: Any) -> None:
    """Raise a SettingError if a module could not be loaded again."""
    row = _row_for(module)
    if layout.type_of(module) is None:
        custom.type_name_of(module)
        if row is None:
            custom.check_rebuilt(module)
        elif not custom.has_own(type(module), "load"):
            subclass.check(module, row)
    if row is None:
        return
    routes = module.sub_modules.values() if row.parts is not None else ()
    for part in itertools.chain(*routes):
        check(part)
    if (look := getattr(row.load_format(), "check", None)) is not None:
        look(module)


def _row_for(module: nn.Module) -> ModuleType | None:
    """The row that a module, or the class it is derived from, is written by; None: by itself."""
    kind = type(module)
    base = None if custom.has_own(kind, "save") else layout.base_type_of(kind)
    return layout.type_of(module) or base
