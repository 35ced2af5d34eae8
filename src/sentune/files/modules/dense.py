"""A Dense's folder: settings and tensors, and an activation that is made of its name."""

from __future__ import annotations

from typing import Any

from torch import nn

from sentune.errors import ModelFileError, SettingError, UntrustedCodeError
from sentune.files.modules import plain
from sentune.files.modules.how import Reading
from sentune.files.plan import ModulePlan
from sentune.models import activations


def read(plan: ModulePlan, how: Reading, kind: type[nn.Module]) -> nn.Module:
    """A Dense."""
    if "activation_function" not in plan.settings:  # the default
        return plain.read(plan, how, kind)
    name, arguments = plan.settings["activation_function"], plan.settings.get("activation_kwargs")
    try:
        found = activations.read(name, arguments or {}, is_trusted=how.code.is_trusted)
    except (SettingError, UntrustedCodeError) as error:
        kind_of_error = ModelFileError if isinstance(error, SettingError) else UntrustedCodeError
        raise kind_of_error(f"{plan.path}: 'activation_function': {error}") from error
    return plain.read(plan, how, kind, activation_function=found, activation_kwargs=None)


write = plain.write


def check(module: nn.Module) -> None:
    """Raise if the activation of a Dense could not be made again."""
    activation: Any = module.activation_function
    activations.described(activation)
