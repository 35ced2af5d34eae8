"""Names of classes."""

from __future__ import annotations

from typing import Any


def fullname(obj: Any) -> str:
    """The dotted name of a class, or of the class of an object; a builtin has no module."""
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
