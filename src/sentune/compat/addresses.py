"""Modules without files: the addresses at which sentence-transformers has names.

Libraries and old code import by them. `addresses.txt` is the one table; it names what is in other
packages by strings, which are looked up when a name is asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

PEER = "sentence_transformers"
RELEASE = "6.2.0"  # whose names there are, and what code that asks for `__version__` is told


class Row(NamedTuple):
    """What is at an address."""

    homes: tuple[str, ...] = ()  # modules of sentune that have its names
    renamed: Mapping[str, str] = MappingProxyType({})  # name there -> name here
    below: tuple[str, ...] = ()  # addresses below it, with the same names
    lacking: tuple[str, ...] = ()  # names that are nowhere in sentune


@cache
def table() -> dict[str, Row]:
    """Address below the package, "" for the package itself -> what is there."""
    return {
        address: Row(homes or ("sentune",), dict(name.split("=") for name in renamed), below)
        for address, homes, renamed, below in lines("addresses.txt")
    }


def lines(file: str) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """The rows of a file of addresses, their places with the name of this package."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            address, *parts = line.split("|")
            homes, names, below = (tuple(part.split()) for part in parts)
            yield address.strip(), tuple(f"sentune.{home}" for home in homes), names, below


def row_of(address: str, rows: Mapping[str, Row] | None = None) -> Row | None:
    """What is at an address, or at the one that it is below; None if there is no such address."""
    rows = table() if rows is None else rows
    if (found := rows.get(address)) is not None:
        return found
    above, _, name = address.rpartition(".")
    around = rows.get(above)
    return around._replace(below=()) if around and name in around.below else None


def every(rows: Mapping[str, Row] | None = None) -> Iterator[str]:
    """All addresses but that of the package itself, those above others first."""
    for address, row in (table() if rows is None else rows).items():
        if address:
            yield address
        yield from (f"{address}.{name}".lstrip(".") for name in row.below)


class Address(ModuleType):
    """A module whose names are those of others; its address is "" for the package itself."""

    def __init__(self, package: str, address: str, row: Row) -> None:
        name = f"{package}.{address}" if address else package
        super().__init__(name, f"Names of {', '.join(row.homes)}.")
        self.__path__: list[str] = []  # what is not below it is looked for nowhere
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__dict__.update(_package=package, _address=address, _row=row)

    # Says what is at which address.
    rows: Callable[[], Mapping[str, Row]] = staticmethod(table)

    def __getattr__(self, name: str) -> Any:
        """A name, or a module below; the release of the package itself."""
        if name == "__version__" and not self._address:
            return RELEASE
        if name == "__all__":
            return sorted({one for home in self._row.homes for one in names_in(home)})
        if not name.startswith("__"):
            own = self.own(name)
            if (found := self.below(name) if own is None else own) is not None:
                return found
        raise AttributeError(f"sentune has no {self.__name__}.{name}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.__all__]

    def own(self, name: str) -> Any:
        """What sentune has under a name; None if nothing."""
        here = self._row.renamed.get(name, name)
        for home in self._row.homes:
            found = getattr(importlib.import_module(home), here, None)
            if found is not None and not isinstance(found, ModuleType):
                return found
        return None

    def below(self, name: str) -> ModuleType | None:
        """A module below this one; None if there is none."""
        address = f"{self._address}.{name}".lstrip(".")
        row = row_of(address, self.rows())
        if row is None:
            return None
        there = sys.modules.get(f"{self._package}.{address}")
        made = there if type(there) is type(self) else type(self)(self._package, address, row)
        return self.__dict__.setdefault(name, made)


def names_in(home: str) -> list[str]:
    """The public names of a module of sentune."""
    module = importlib.import_module(home)
    return list(getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"]))


def register(package: str) -> None:
    """Let a package of sentune's own have the addresses, where it has no module of that name.

    Entries among the loaded modules, not a finder: that would leave a module below the name of
    `losses.CosineSimilarityLoss`, where the class is.
    """
    for address in every():
        row = row_of(address)
        name = f"{package}.{address}"
        if row is not None and name not in row.homes:
            sys.modules.setdefault(name, Address(package, address, row))
