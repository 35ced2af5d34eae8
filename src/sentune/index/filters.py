"""Which rows a search may find: conditions in SQL, made from what the caller gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from sentune.errors import SettingError

# Ids of one condition; a longer one is slow to parse.
_AT_ONCE = 1_000


def condition(given: str | Mapping[str, Any] | None) -> str | None:
    """A condition in SQL; None for no condition.

    Args:
        given: SQL over the columns of the index, as it is: `"year >= 2020 AND lang = 'en'"`. Or a
            dict of column -> value, all of which must hold; a list allows each of its values, and
            None stands for a missing value.

    Raises:
        SettingError: If it is neither, or a value cannot be compared with.
    """
    if isinstance(given, str) and not given.strip():
        raise SettingError(
            'the filter is blank; write a condition as "year >= 2020", or leave it out (None)'
        )
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise SettingError(
            f"filter must be SQL as \"year >= 2020\" or a dict as {{'lang': 'en'}}, got {given!r}"
        )
    return " AND ".join(_equals(name, value) for name, value in given.items()) or None


def whole(condition: str) -> str:
    """The condition in brackets, so that LanceDB ignores nothing that comes after it.

    The closing bracket has a line of its own, since a comment would hide it.
    """
    return f"({condition}\n)"


def with_ids(ids: Iterable[str]) -> Iterator[str]:
    """Conditions that together hold for the rows of some documents."""
    rest = iter(ids)
    while part := list(islice(rest, _AT_ONCE)):
        yield f"id IN ({', '.join(map(literal, part))})"


def literal(value: Any) -> str:
    """A value as SQL has it."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None:
        return "NULL"
    if isinstance(plain, bool):
        return str(plain).upper()
    if isinstance(plain, str):
        quoted = plain.replace("'", "''")
        return f"'{quoted}'"
    if isinstance(plain, (int, float)) and math.isfinite(plain):
        return repr(plain)
    raise SettingError(
        "a filter compares with texts, finite numbers, True, False and None, got "
        f"{value!r}; say it in SQL"
    )


def _equals(name: Any, value: Any) -> str:
    if not isinstance(name, str) or "`" in name:
        raise SettingError(f"a filter names columns, got {name!r}")
    if value is None:
        return f"`{name}` IS NULL"
    if isinstance(value, (list, tuple, set, frozenset, range, np.ndarray)):
        allowed = [_equals(name, one) for one in value]
        return f"({' OR '.join(allowed)})" if allowed else "FALSE"
    return f"`{name}` = {literal(value)}"
