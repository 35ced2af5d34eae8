"""A module of settings and tensors: most of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune.files.layout import ModuleType
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.folders import weights
from sentune.folders.folder import write_json


def read(plan: ModulePlan, how: Reading, kind: type[nn.Module], **others: Any) -> nn.Module:
    """A module."""
    settings = {**plan.settings, **others}
    if plan.weights is None or plan.row is None or plan.row.weights == "no":
        return kind(**settings)
    # Sizes cost nothing on "meta"; storage comes with the tensors, if they have those sizes.
    with torch.device("meta" if plan.row.weights == "yes" else "cpu"):
        module = kind(**settings)
    weights.put(module, weights.read_file(plan.weights), plan.weights)
    return module


def write(row: ModuleType, module: nn.Module, folder: Path, how: Writing) -> None:
    """Write a module."""
    config = row.config_of(module.settings())  # type: ignore[operator]
    if row.file is not None and (config or not row.is_lenient):
        write_json(folder / row.file, config)
    if row.weights != "no":
        weights.write(module.state_dict(), folder, safe=how.safe)
