"""One module from its plan, and into its folder: by its row of the table, or by code of its own."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sentune.errors import HubError, ModelFileError
from sentune.files import layout
from sentune.files import plan as planning
from sentune.files.layout import ModuleType
from sentune.files.modules import custom
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
    if row is None or custom.loads_itself(kind):
        return custom.read(kind, plan, how.code)
    planned = planning.as_row(plan, row, is_trusted=True)
    return _build(planned, row, how, kind)


def write(module: nn.Module, folder: Path, how: Writing) -> str:
    """Write a module into its folder; gives the type name for the file that lists it.

    Raises:
        SettingError: If it could not be loaded again; it says why.
    """
    row = layout.type_of(module)
    if row is not None:
        row.load_format().write(row, module, folder, how)
        return row.written_name
    custom.type_name_of(module)  # raises if no file could name it
    base = layout.base_type_of(type(module))
    if base is None or custom.loads_itself(type(module)) or custom.saves_itself(type(module)):
        custom.write(module, folder, how)
    else:
        custom.check_rebuilt(module, base)
        base.load_format().write(base, module, folder, how)
    return custom.type_name_of(module, how.root)


def check(module: nn.Module) -> None:
    """Raise if a module could not be loaded again, as far as that is known before it is written.

    Raises:
        SettingError: If it could not; it says why.
    """
    row = layout.type_of(module)
    base = row or layout.base_type_of(type(module))
    if row is None:
        custom.type_name_of(module)
        if not custom.saves_itself(type(module)):
            custom.check_rebuilt(module, base)
    if base is not None and hasattr(base.load_format(), "check"):
        base.load_format().check(module)


def _build(plan: ModulePlan, row: ModuleType, how: Reading, kind: type[nn.Module]) -> nn.Module:
    try:
        return row.load_format().read(plan, how, kind)
    except (ModelFileError, HubError, ImportError):
        raise
    except Exception as error:  # whatever a damaged or hostile file sets off in a constructor
        raise ModelFileError(
            f"{plan.path}: {kind.__name__} cannot be built from it: {error}"
        ) from error
