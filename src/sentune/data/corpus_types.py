"""Which types the columns of a corpus have, found from its values where its files do not say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sentune._lazy import need

_MOST_FIELDS = 100  # of an object whose keys become fields; more are data, not names
NO_NUMBER = r"^[+-]?0[\dxX]"  # the zero counts, or Arrow reads it as hexadecimal
_STARTS_WITH_ZERO = re.compile(NO_NUMBER)


class Types:
    """The types of named columns, one for all of their values, from portions of rows.

    A column whose values have no type in common holds text: of what is no text, its JSON. With
    `is_text`, all values are text, as in csv files, and may all be numbers.
    """

    def __init__(self, *, is_text: bool = False) -> None:
        self._of = _of_cells if is_text else _of_values
        self._found: dict[str, Any] = {}

    def see(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take note of some rows."""
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            self.add(name, self._of([row.get(name) for row in rows]))

    def add(self, name: str, kind: Any) -> None:
        """Take note of a type of a column."""
        self._found[name] = joined(self._found[name], kind) if name in self._found else kind

    def names(self) -> list[str]:
        """The columns, in the order in which they came."""
        return list(self._found)

    def merge(self, other: Types) -> None:
        """Take note of what another one has seen."""
        for name, kind in other._found.items():
            self.add(name, kind)

    def schema(self) -> Any:
        """A `pyarrow.Schema` of the columns, in the order in which they came."""
        pa = need("pyarrow", extra="bulk")
        return pa.schema([(name, settled(kind)) for name, kind in self._found.items()])


def joined(one: Any, other: Any) -> Any:
    """A type for the values of both, text if there is no other."""
    pa = need("pyarrow", extra="bulk")
    if one == other:
        return one
    if _is_joined_too_narrow(one, other) or _is_joined_too_narrow(other, one):
        return pa.string()
    try:
        schemas = [pa.schema([("", kind)]) for kind in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def settled(kind: Any) -> Any:
    """The type as a Parquet file can have it: values as they are, and text for what has no type."""
    pa = need("pyarrow", extra="bulk")
    if isinstance(kind, pa.BaseExtensionType):
        return settled(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return settled(kind.value_type)
    if pa.types.is_null(kind) or _is_odd(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(settled(kind.value_type))
    is_view = kind in (pa.large_string(), pa.string_view())
    return pa.string() if is_view else kind


def fitting(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of a text file one of the type."""
    pa = need("pyarrow", extra="bulk")
    if pa.types.is_string(kind):
        return _as_text
    if pa.types.is_floating(kind):
        return lambda value: None if value is None else float(value)
    if pa.types.is_integer(kind):
        return lambda value: None if value is None else int(value)
    return lambda value: value


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, (bool, int, float, list, dict)):  # a date, a decimal, bytes
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def array_of(values: list[Any]) -> Any | None:
    """The values as a `pyarrow.Array` of the type they have; None if they have none in common."""
    pa = need("pyarrow", extra="bulk")
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # several types; numbers too large
        return None


def _of_values(values: list[Any]) -> Any:
    array = array_of(values)
    return need("pyarrow", extra="bulk").string() if array is None else array.type


def _of_cells(cells: list[str | None]) -> Any:
    """Of a csv file: numbers only where none has a leading zero, as in 0171 or 0x1F."""
    pa = need("pyarrow", extra="bulk")
    known = [cell for cell in cells if cell is not None]
    if not known:
        return pa.null()
    if any(map(_STARTS_WITH_ZERO.match, known)):
        return pa.string()
    for kind in (pa.int64(), pa.float64()):
        try:
            pa.array(known, pa.string()).cast(kind)
            return kind
        except pa.ArrowInvalid:
            continue
    return pa.string()


def _is_joined_too_narrow(one: Any, other: Any) -> bool:
    """Whether Arrow joins the types to one that does not hold all values of both."""
    types = need("pyarrow", extra="bulk").types
    if types.is_decimal(one):
        return not types.is_decimal(other) and not types.is_null(other)
    return types.is_uint64(one) and types.is_signed_integer(other)


def _is_odd(kind: Any) -> bool:
    """Whether a type is of objects without fields, or with keys that are data."""
    pa = need("pyarrow", extra="bulk")
    if pa.types.is_struct(kind):
        fields = [kind.field(place).type for place in range(kind.num_fields)]
        return not 0 < len(fields) <= _MOST_FIELDS or any(map(_is_odd, fields))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and _is_odd(kind.value_type)
