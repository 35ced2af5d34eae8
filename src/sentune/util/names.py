"""Names of classes and functions."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def fullname(obj: Any) -> str:
    """The dotted name of a class, or of the class of an object; a builtin has no module."""
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def import_from_string(dotted_path: str) -> Any:
    """What a dotted name stands for, as the class of an activation.

    Args:
        dotted_path: A module and a name in it, joined by a dot.

    Raises:
        ImportError: If there is no such thing.
    """
    module, _, name = dotted_path.rpartition(".")
    if not module:
        raise ImportError(f"{dotted_path!r} names no module; give one as 'torch.nn.Tanh'")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"there is no {name!r} in {module}") from error
