"""Lazy front doors (PEP 562): a package lists its names in `__init__.pyi`, files load on use.

The stub is the one list of public names: type checkers and editors read it, and `front_door`
reads the same file to know which submodule holds which name.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sentune.errors import MissingDependencyError


def front_door(
    package: str, init_file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Module-level `__getattr__`, `__dir__` and `__all__` of a package with an `__init__.pyi`."""
    home = _names_in(Path(init_file).with_suffix(".pyi"), package)

    def look_up(name: str) -> Any:
        if name not in home:
            below = sys.modules.get(f"{package}.{name}")  # an address that is no file
            if below is not None:
                return below
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = home[name]
        value = importlib.import_module(module)
        if attribute is not None:
            value = getattr(value, attribute)
        setattr(sys.modules[package], name, value)  # the next look-up does not come here
        return value

    names = sorted(home)
    return look_up, lambda: names, names


def need(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        MissingDependencyError: If it is not installed; the message names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module} is needed here and could not be imported ({error}); "
            f'install it with: pip install "sentune[{extra}]"'
        ) from error


def from_higher_layer(module: str, name: str) -> Any:
    """A function of a higher layer, for a method that users expect on a lower one.

    The one exception to the rule that a layer knows only the layers below it. The layers test
    lists every place that uses it.
    """
    return getattr(importlib.import_module(module), name)


def _names_in(stub: Path, package: str) -> dict[str, tuple[str, str | None]]:
    """Public name -> (module, attribute in it; None for a submodule itself)."""
    home: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        source = node.module or ""
        if node.level:
            source = f"{package}.{source}".rstrip(".")
        for alias in node.names:
            name = alias.asname or alias.name
            is_submodule = source == package
            home[name] = (f"{package}.{alias.name}", None) if is_submodule else (source, alias.name)
    return home
