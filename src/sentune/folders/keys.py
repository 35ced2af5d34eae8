"""What a key of a json file may hold, and the error when it holds something else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentune.errors import ModelFileError

# Wider than any model, narrower than what would fill the memory before it is compared with a file.
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Kind:
    """What a value may be."""

    says: str  # in words, for the error
    fits: Callable[[Any], bool]  # whether a value is of this kind

    def or_null(self) -> Kind:
        """This kind, or null."""
        return Kind(f"{self.says}, or null", lambda value: value is None or self.fits(value))

    def list(self) -> Kind:
        """A list of this kind."""
        return Kind(
            f"a list of values that are each {self.says}",
            lambda value: isinstance(value, list) and all(map(self.fits, value)),
        )

    def dict(self) -> Kind:
        """An object whose values are of this kind."""
        return Kind(
            f"an object with values that are each {self.says}",
            lambda value: isinstance(value, dict) and all(map(self.fits, value.values())),
        )

    def either(self, other: Kind) -> Kind:
        """This kind or the other."""
        return Kind(
            f"{self.says}, or {other.says}", lambda value: self.fits(value) or other.fits(value)
        )


def one_of(*names: str) -> Kind:
    """One of the given strings."""
    return Kind(
        f"one of {', '.join(map(repr, names))}",
        lambda value: isinstance(value, str) and value in names,
    )


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a string", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
COUNT = Kind(
    "a whole number of at least 0",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST,
)
SIZE = Kind("a whole number of at least 1", lambda value: COUNT.fits(value) and value >= 1)
# How often something is built: a loop runs that many times before any file is compared.
FEW = Kind("a whole number from 1 to 1024", lambda value: SIZE.fits(value) and value <= 1024)
NUMBER = Kind(
    "a finite number",
    lambda value: (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # which no integer beyond a float is, and no NaN
    ),
)
SHARE = Kind("a number between 0 and 1", lambda value: NUMBER.fits(value) and 0 <= value <= 1)


def check(config: Mapping[str, Any], kinds: Mapping[str, Kind], path: Path) -> None:
    """Raise unless every key in `kinds` that a file has holds what it may hold."""
    for key, kind in kinds.items():
        if key in config and not kind.fits(config[key]):
            raise ModelFileError(f"{path}: {key!r} is {shown(config[key])}; it must be {kind.says}")


def need(config: Mapping[str, Any], names: Iterable[str], path: Path) -> None:
    """Raise unless a file has all of some keys."""
    for name in names:
        if name not in config:
            raise ModelFileError(f"{path}: the key {name!r} is missing; the module needs it")


def refuse_unknown(config: Mapping[str, Any], known: Iterable[str], path: Path) -> None:
    """Raise if a file has a key that is not known, unless it says nothing (null, false, empty).

    A setting that is ignored would give other embeddings than its author meant.
    """
    for name, value in config.items():
        if name not in known and (value or value == 0) and value is not False:
            raise ModelFileError(
                f"{path}: the key {shown(name)} (here {shown(value)}) is not known to this version "
                f"of sentune, which knows {sorted(known)}; update sentune, or remove the key if "
                "the model works without it"
            )


def shown(value: Any) -> str:
    """A value as it is shown in an error, truncated when long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
