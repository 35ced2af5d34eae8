"""Arguments under the names, and in the places, of earlier releases of the field's library."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sentune.errors import warn

Function = TypeVar("Function", bound=Callable[..., Any])


def older_names(
    renamed: dict[str, str], *, order: Sequence[str] = (), without_effect: Sequence[str] = ()
) -> Callable[[Function], Function]:
    """A decorator for a function or method that takes its arguments as earlier releases did, too.

    Args:
        renamed: Older name -> name of today; a value under the name of today counts.
        order: Names of what may follow the last positional argument of today.
        without_effect: Names that are taken and not read.
    """

    def decorate(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        places = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for name, value in zip(order, args[places:], strict=False):
                kwargs.setdefault(name, value)
            used = [name for name in (*renamed, *without_effect) if name in kwargs]
            for name in used:
                value = kwargs.pop(name)
                if name in renamed:
                    kwargs.setdefault(renamed[name], value)
            if used:
                today = ", ".join(f"{name} -> {renamed.get(name, 'no effect')}" for name in used)
                warn(f"{function.__qualname__}: arguments of earlier releases: {today}")
            return function(*args[:places] if order else args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
