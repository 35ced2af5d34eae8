"""`import sentence_transformers` gives sentune, for libraries and programs that import it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from typing import Any

from sentune.compat.addresses import PEER, RELEASE, Address, Row, every, lines, row_of, table
from sentune.errors import SettingError

PROJECT = "sentence-transformers"
MAKER = "sentune"  # in INSTALLER, as pip writes its own name
# The files about the release that is there. What asks for its training gets that of sentune.
ABOUT = {
    "METADATA": f"""Metadata-Version: 2.1
Name: {PROJECT}
Version: {RELEASE}
Summary: {MAKER}
Requires-Dist: {MAKER}
Provides-Extra: train
Requires-Dist: {MAKER}[train]; extra == "train"
""",
    "INSTALLER": f"{MAKER}\n",
    "top_level.txt": f"{PEER}\n",
}


@cache
def _rows() -> dict[str, Row]:
    """What is at each address under the alias."""
    rows = dict(table())
    for address, homes, names, below in lines("lacking.txt"):
        row = rows.get(address, Row(homes))
        rows[address] = Row(row.homes, row.renamed, (*row.below, *below), names)
    return {address: rows[address] for address in sorted(rows)}


class Alias(Address):
    """A module of sentence-transformers that has the names of sentune."""

    rows = staticmethod(_rows)

    def own(self, name: str) -> Any:
        """As for `Address`; what sentune lacks is a class that says so when it is called."""
        found = super().own(name)
        return _lacking(name) if found is None and name in self._row.lacking else found


def install(*, shadow: bool = False) -> None:
    """Let `import sentence_transformers` give sentune in this process, from now on.

    To have it in every program of an environment, and in the processes that these start, use
    `sentune alias on`.

    Args:
        shadow: Also where sentence-transformers itself is installed, which is then not to be had.

    Raises:
        SettingError: If sentence-transformers is installed, or was imported before.
    """
    if is_on():
        return
    if not shadow and (found := installed()):
        raise SettingError(
            f"{PROJECT} {found} is installed; uninstall it, or pass shadow=True to have sentune in "
            "its place"
        )
    if PEER in sys.modules:
        raise SettingError(
            f"{PEER} was imported before, and what has its classes keeps them; call "
            "sentune.compat.install() first"
        )
    enter()
    sys.meta_path.insert(0, _Metadata())


def uninstall() -> None:
    """Undo `install`; modules that have imported names keep them."""
    for name in [name for name, module in sys.modules.items() if isinstance(module, Alias)]:
        del sys.modules[name]
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _Metadata)]


def enter() -> None:
    """Put the modules of the alias among those that are loaded.

    Also called by the package that `sentune alias on` writes, of which the alias keeps where it is.
    """
    top = Alias(PEER, "", _rows()[""])
    before = sys.modules.get(PEER)
    if before is not None:
        top.__dict__.update(__spec__=before.__spec__, __file__=before.__file__)
    sys.modules[PEER] = top
    for address in every(_rows()):
        if (row := row_of(address, _rows())) is not None:
            sys.modules[f"{PEER}.{address}"] = Alias(PEER, address, row)


def is_on() -> bool:
    """Whether the name is sentune's in this process."""
    return isinstance(sys.modules.get(PEER), Alias)


def installed() -> str | None:
    """The release of sentence-transformers itself that is installed; None if it is not."""
    for found in importlib.metadata.distributions(name=PROJECT):
        if (found.read_text("INSTALLER") or "").strip() != MAKER:
            return found.version
    return None


@cache
def _lacking(name: str) -> type:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"this release of sentune has no {name}; with `sentune alias off` and "
            f"{PROJECT} installed, {PEER} has it"
        )

    return type(name, (), {"__init__": __init__, "__module__": PEER, "__doc__": "Not in sentune."})


class _Metadata(importlib.metadata.DistributionFinder):
    """Answers which release of sentence-transformers is installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """No module."""
        return None

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """That of the alias, if it or all are asked for."""
        asked = getattr(context, "name", None) or PROJECT
        if asked.lower().replace("_", "-") == PROJECT:
            yield _Distribution()


class _Distribution(importlib.metadata.Distribution):
    def read_text(self, filename: str) -> str | None:
        return ABOUT.get(filename)

    def locate_file(self, path: Any) -> Any:
        return path
