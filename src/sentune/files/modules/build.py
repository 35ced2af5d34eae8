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
    """A module.

    Raises:
        ModelFileError: If its files are damaged.
        UntrustedCodeError: If it would run code and may not.
    """
    if plan.row is not None:
        return _build(plan, plan.row, how, plan.row.load_class())
    kind = custom.class_of(plan.type_name, how.code, plan.listed_in)
    row = layout.base_type_of(kind)
    if custom.is_made_as_encoder(kind):
        row = layout.MODULES["Transformer"]
    elif row is None or custom.loads_itself(kind):
        return custom.read(kind, plan, how)
    return of_kind(subclass.planned_as(plan, row, kind), row, how, kind)


def of_kind(plan: ModulePlan, row: ModuleType, how: Reading, kind: type[nn.Module]) -> nn.Module:
    """A module of a class that is read as one of the table.

    Args:
        plan: What its folder says.
        row: The row of the table.
        how: How it is read.
        kind: Its class.

    Raises:
        ModelFileError: If its files are damaged.
    """
    return _build(plan, row, how, subclass.maker(kind, row))


def write(module: nn.Module, folder: Path, how: Writing) -> str:
    """Write a module into its folder; gives the type name for the file that lists it.

    Raises:
        SettingError: If it could not be loaded again; it says why.
    """
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
    """Raise if a module could not be loaded again.

    Raises:
        SettingError: If it could not; it says why.
    """
    row = _row_for(module)
    if layout.type_of(module) is None:
        custom.type_name_of(module)
        if row is None:
            custom.check_rebuilt(module)
        elif not custom.loads_itself(type(module)):
            subclass.check(module, row)
    if row is None:
        return
    routes = module.sub_modules.values() if row.parts is not None else ()
    for part in itertools.chain(*routes):
        check(part)
    look = getattr(row.load_format(), "check", None)
    if look is not None:
        look(module)


def _row_for(module: nn.Module) -> ModuleType | None:
    """The row of the table that a module is written by; None for one that saves itself.

    A class that is derived from one in the table is written as that one is, unless it has a `save`
    of its own.
    """
    kind = type(module)
    is_own = custom.saves_itself(kind)
    return layout.type_of(module) or (None if is_own else layout.base_type_of(kind))


def _build(plan: ModulePlan, row: ModuleType, how: Reading, kind: type[nn.Module]) -> nn.Module:
    try:
        return row.load_format().read(plan, how, kind)
    except (ModelFileError, HubError, ImportError):
        raise
    except Exception as error:  # whatever a damaged or hostile file sets off in a constructor
        raise ModelFileError(
            f"{plan.path}: {kind.__name__} cannot be built from it: {error}"
        ) from error
