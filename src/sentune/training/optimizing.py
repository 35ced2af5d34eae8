"""Learning rates of their own for some parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import nn
from torch.optim import Optimizer

from sentune.errors import SettingError


def set_learning_rates(
    optimizer: Optimizer,
    parameters: Iterable[tuple[str, nn.Parameter]],
    rates: Mapping[str, float],
) -> None:
    """Move parameters of an optimizer to groups with the learning rate that a mapping gives.

    Works on any optimizer that was just made: it has no state yet, and its other settings, as
    weight decay, stay with the parameters.

    Args:
        optimizer: A fresh optimizer.
        parameters: Name -> parameter.
        rates: Regular expression -> rate; of several that a name matches, the last one counts.

    Raises:
        SettingError: If an expression matches no parameter of the optimizer.
    """
    named = list(parameters)
    for pattern, rate in rates.items():
        chosen = {id(parameter) for name, parameter in named if re.search(pattern, name)}
        moved = [_split(group, chosen, rate) for group in optimizer.param_groups]
        moved = [group for group in moved if group["params"]]
        if not moved:
            raise SettingError(
                f"learning_rate_mapping: no trained parameter has a name with {pattern!r} in it; "
                f"the names begin with {named[0][0]!r}"
            )
        for group in moved:
            optimizer.add_param_group(group)


def _split(group: dict, chosen: set[int], rate: float) -> dict:
    """A group of the chosen parameters of a group, which loses them."""
    moved = [parameter for parameter in group["params"] if id(parameter) in chosen]
    group["params"] = [parameter for parameter in group["params"] if id(parameter) not in chosen]
    return {**group, "params": moved, "lr": rate}
