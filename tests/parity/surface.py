"""Walks the installed sentence-transformers, and lists what sentune has otherwise or not at all.

python -m tests.parity.surface     # prints all of it, what docs/migrating.md explains too
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import sys
import types
from collections.abc import Iterator
from typing import Any

from sentune.compat.addresses import PEER, lines

OWN = "sentune"
# Other kinds of models, exports to other programs, and old addresses of all of these.
OTHERS = ("backend", "cross_encoder", "multi_vector_encoder", "sparse_encoder", "peft_mixin")
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def findings() -> dict[str, str]:
    """What is otherwise -> how: `module.name`, `Class.member`, `Class.method(argument)`."""
    found: dict[str, str] = {}
    seen: set[int] = set()
    lacking = {address: names for address, _, names, _ in lines("lacking.txt")}
    for address in addresses():
        there = importlib.import_module(f"{PEER}.{address}".rstrip("."))
        here = _module(address)
        for name in names_in(there):
            if name in lacking.get(address, ()):
                continue  # a name of another kind of model
            value, where = getattr(there, name), f"{address}.{name}".lstrip(".")
            own = None if here is None else getattr(here, name, None)
            if own is None:
                found[where] = "is missing"
            elif id(value) not in seen:
                seen.add(id(value))
                found.update(compared(name, value, own))
    return found


def addresses() -> list[str]:
    """The modules of the part for embedding models, "" for the package."""
    peer = importlib.import_module(PEER)
    found = [one.name for one in pkgutil.walk_packages(peer.__path__, f"{PEER}.")]
    names = [name.removeprefix(f"{PEER}.") for name in found]
    return ["", *(name for name in sorted(names) if not name.startswith(OTHERS))]


def _module(address: str) -> Any:
    try:
        return importlib.import_module(f"{OWN}.{address}".rstrip("."))
    except ImportError:
        return None


def names_in(module: Any) -> list[str]:
    """Its public names: those that a package offers, those that are made in a file."""
    offered = getattr(module, "__all__", ())
    is_package = hasattr(module, "__path__")
    found = []
    for name, value in vars(module).items():
        origin = str(getattr(value, "__module__", ""))
        is_own = origin == module.__name__ or (is_package and origin.startswith(PEER))
        is_made = inspect.isclass(value) or inspect.isfunction(value)
        if not name.startswith("_") and (name in offered or (is_own and is_made)):
            found.append(name)
    return [
        name for name in sorted(found) if not isinstance(getattr(module, name), types.ModuleType)
    ]


def compared(name: str, there: Any, here: Any) -> Iterator[tuple[str, str]]:
    """What is otherwise in one class, function or value."""
    if inspect.isclass(there) and is_of_others(there):
        return
    if inspect.isclass(there):
        if not inspect.isclass(here):
            yield name, "is no class"
            return
        if not issubclass(there, enum.Enum):
            if dataclasses.is_dataclass(there) or there.__init__ is not here.__init__:
                yield from arguments(name, there, here)
        yield from members(name, there, here)
    elif callable(there):
        yield from arguments(name, there, here)
    elif not same(there, here):
        yield name, f"is {here!r:.60}, there {there!r:.60}"


def is_of_others(kind: type) -> bool:
    """Whether a class is for another kind of model."""
    return kind.__module__.removeprefix(f"{PEER}.").startswith(OTHERS)


def members(name: str, there: type, here: type) -> Iterator[tuple[str, str]]:
    """What is otherwise among the public members that the library's own classes define."""
    for member, value in _own(there).items():
        where = f"{name}.{member}"
        if not hasattr(here, member):
            is_field = dataclasses.is_dataclass(here) and member in {
                field.name for field in dataclasses.fields(here)
            }
            if not is_field:
                yield where, "is missing"
            continue
        mine = inspect.getattr_static(here, member)
        if isinstance(value, property):
            if value.fset and isinstance(mine, property) and not mine.fset:
                yield where, "cannot be set"
            continue
        inner, own = getattr(value, "__func__", value), getattr(mine, "__func__", mine)
        if inspect.isfunction(inner) and inspect.isfunction(own):
            yield from arguments(where, inner, own)
            is_bound = isinstance(mine, (classmethod, staticmethod))  # called alike by the class
            if isinstance(value, (classmethod, staticmethod)) and not is_bound:
                yield where, f"is a {type(mine).__name__}, there a {type(value).__name__}"


def _own(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in reversed(kind.__mro__):
        if one.__module__.startswith(PEER):
            found.update({name: v for name, v in vars(one).items() if not name.startswith("_")})
    return found


def arguments(where: str, there: Any, here: Any) -> Iterator[tuple[str, str]]:
    """What is otherwise among the arguments: names, places, kinds, defaults."""
    theirs, mine = _parameters(there), _parameters(here)
    if theirs is None or mine is None or all(one.kind in _STARS for one in theirs.values()):
        return
    if mine and all(one.kind in _STARS for one in mine.values()):
        return  # hands all of them on
    has_more = any(one.kind == inspect.Parameter.VAR_KEYWORD for one in mine.values())
    for name, one in theirs.items():
        if one.kind in _STARS:
            if one.kind == inspect.Parameter.VAR_KEYWORD and not has_more:
                yield f"{where}(**)", "takes no other arguments by name"
        elif name not in mine and has_more and where.rpartition(".")[2].startswith("on_"):
            continue  # what transformers hands to callbacks by name
        elif name not in mine:
            yield f"{where}({name})", "is no argument"
        elif one.default is not one.empty and not same(one.default, mine[name].default):
            yield f"{where}({name})", f"is {mine[name].default!r:.60}, there {one.default!r:.60}"
        elif one.kind in _BY_PLACE and mine[name].kind not in _BY_PLACE:
            yield f"{where}({name})", "is not taken by place"
    places = [[n for n, p in each.items() if p.kind in _BY_PLACE] for each in (theirs, mine)]
    if [n for n in places[1] if n in places[0]] != [n for n in places[0] if n in places[1]]:
        yield f"{where}()", f"takes {places[1]} in this order, there {places[0]}"


def _parameters(function: Any) -> dict[str, inspect.Parameter] | None:
    try:
        return {
            name: one
            for name, one in inspect.signature(function).parameters.items()
            if name not in ("self", "cls")
        }
    except (TypeError, ValueError):
        return None


def same(there: Any, here: Any) -> bool:
    """Whether two defaults mean the same; functions and classes of one name do."""
    if repr(there) == repr(here) or (str(there) == str(here)):
        return True
    if isinstance(there, (list, tuple)) and isinstance(here, (list, tuple)):
        if all(isinstance(one, str) for one in (*there, *here)):
            return set(there) == set(here)
        return len(there) == len(here) and all(map(same, there, here))
    if callable(there) and callable(here):
        names = [getattr(one, "__name__", type(one).__name__) for one in (there, here)]
        return "<lambda>" in names or names[0] == names[1]
    try:
        return bool(there == here)
    except (TypeError, ValueError, RuntimeError):
        return False


def attributes(there: Any, here: Any) -> Iterator[tuple[str, str]]:
    """Public attributes of an object that the other one lacks."""
    names = {*vars(there), *vars(there).get("_modules", ()), *vars(there).get("_buffers", ())}
    for name in sorted(name for name in names if not name.startswith("_")):
        if not hasattr(here, name):
            yield f"{type(there).__name__}().{name}", "is missing"


if __name__ == "__main__":
    for place, how in findings().items():
        sys.stdout.write(f"{place}: {how}\n")
