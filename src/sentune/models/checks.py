"""What modules check before they work: argument names, options, inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from torch import Tensor, nn

from sentune.errors import InputError, SettingError
from sentune.types import Features

P = ParamSpec("P")
R = TypeVar("R")


def accepts_old_names(**renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator under which a function also takes arguments by their old names.

    Old code and old files use them. Where both names are given, the new one counts.

    Args:
        **renamed: Old name -> new name.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def with_old_names(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in renamed.items():
                if old in kwargs:
                    value = kwargs.pop(old)
                    kwargs.setdefault(new, value)
            return function(*args, **kwargs)

        return with_old_names

    return decorate


def check_positive(**sizes: int) -> None:
    """Raise unless every size is a whole number above zero.

    Args:
        **sizes: Argument name -> value given.

    Raises:
        SettingError: Naming the first argument that is not.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise SettingError(f"{name} must be a whole number of at least 1, got {size!r}")


def check_share(**shares: float) -> None:
    """Raise unless every value lies between 0 and 1.

    Args:
        **shares: Argument name -> value given.

    Raises:
        SettingError: Naming the first argument that does not.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise SettingError(f"{name} must lie between 0 and 1, got {share!r}")


def take(features: Features, name: str, reader: nn.Module, width: int | None = None) -> Tensor:
    """What a module reads from the features.

    Args:
        features: The features given to the module.
        name: The key it reads.
        reader: The module, for the error.
        width: Size that the last axis must have.

    Raises:
        InputError: If the key is missing or its value has another width.
    """
    value: Tensor | None = features.get(name)
    who = type(reader).__name__
    if value is None:
        raise InputError(
            f"{who} reads {name!r}, which no module before it has given; "
            f"there are {sorted(features)}: put a module that gives {name!r} before it"
        )
    if width is not None and value.shape[-1] != width:
        raise InputError(
            f"{who} is made for {name!r} of width {width}, got shape {tuple(value.shape)}; "
            f"build it for {value.shape[-1]}, or bring the modules before it to width {width}"
        )
    return value
