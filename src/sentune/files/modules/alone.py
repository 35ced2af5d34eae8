"""Modules of the table, and of classes derived from these, read and written outside of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sentune.files import layout
from sentune.files.modules import build, subclass
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.files.settings import KWARGS
from sentune.folders.folder import ModelFolder
from sentune.folders.source import Code, Hub


def load(
    kind: type[nn.Module],
    folder: ModelFolder,
    hub: Hub,
    defaults: Mapping[str, Any],
    options: Mapping[str, Any],
) -> nn.Module | None:
    """A module of its folder; None if its class has nothing to do with the table.

    The files may lack the settings in `defaults`; `options` are those of `sentune.files.load`.
    """
    row = layout.base_type_of(kind)
    if row is None:
        return None
    code = Code(folder.path, hub, bool(options.get("trust_remote_code", False)))
    how = Reading(code, *(options.get(name) or {} for name in KWARGS))
    plan = ModulePlan(row.written_name, row, folder, folder.path, folder.path)
    planned = subclass.planned_as(plan, row, kind, is_trusted=code.is_trusted)
    planned = replace(planned, settings={**defaults, **planned.settings})
    return build.of_kind(planned, row, how, kind)


def save(module: nn.Module, folder: Path, is_safe: bool) -> bool:
    """Write a module as its row of the table says; False, and nothing done, if it has none."""
    row = layout.base_type_of(type(module))
    if row is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    subclass.write(row, module, folder, Writing(folder, is_safe))
    return True
