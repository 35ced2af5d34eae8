"""Which rows a search may find: conditions in SQL, made from what the caller gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from numbers import Number
from typing import Any

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
    if given is None or isinstance(given, str):
        return given or None
    if not isinstance(given, Mapping):
        raise SettingError(
            f"filter must be SQL as \"year >= 2020\" or a dict as {{'lang': 'en'}}, got {given!r}"
        )
    return " AND ".join(_equals(name, value) for name, value in given.items()) or None


def with_ids(ids: Iterable[str]) -> Iterator[str]:
    """Conditions that together hold for the rows of some documents."""
    rest = iter(ids)
    while part := list(islice(rest, _AT_ONCE)):
        yield f"id IN ({', '.join(map(literal, part))})"


def literal(value: Any) -> str:
    """A value as SQL has it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        quoted = value.replace("'", "''")
        return f"'{quoted}'"
    if isinstance(value, Number) and not isinstance(value, complex):
        return repr(value.item() if hasattr(value, "item") else value)
    raise SettingError(
        f"a filter compares with texts, numbers, True, False and None, got {value!r}; say it in SQL"
    )


def _equals(name: Any, value: Any) -> str:
    if not isinstance(name, str) or "`" in name:
        raise SettingError(f"a filter names columns, got {name!r}")
    if value is None:
        return f"`{name}` IS NULL"
    if isinstance(value, (list, tuple, set, frozenset)):
        allowed = [_equals(name, one) for one in value]
        return f"({' OR '.join(allowed)})" if allowed else "FALSE"
    return f"`{name}` = {literal(value)}"
