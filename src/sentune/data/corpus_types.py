"""Which types the columns of a corpus have, found from its values where its files do not say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sentune._lazy import need

_MOST_FIELDS = 100  # of an object whose keys become fields; more are data, not names
NO_NUMBER = r"^[+-]?0[\dxX]"  # the zero counts, or Arrow reads it as hexadecimal
# Cells that a number would not give back: 0171, +49301, and 12e0, which is a code where it has
# neither point nor sign. Programs that write numbers write 1.2e+20.
_CODE = re.compile(rf"{NO_NUMBER}|\+|\d+[eE]\d+$")
_LARGEST_EXACT = 2**53  # of the integers that a float holds
_LONGEST_EXACT = 15  # digits of an integer that is surely not larger
_LONG = re.compile(rf"-?\d{{{_LONGEST_EXACT + 1},}}")


class Types:
    """The types of named columns, one for all of their values, from portions of rows.

    A column whose values have no type in common holds text: of what is no text, its JSON. So does
    one with floats and integers that are too large for a float. With `is_text`, all values are
    text, as in csv files, and may all be numbers.
    """

    def __init__(self, *, is_text: bool = False) -> None:
        self._of = _of_cells if is_text else _of_values
        self._found: dict[str, Any] = {}
        self._large: set[str] = set()  # columns with an integer that a float does not hold

    def see(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take note of some rows."""
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            self.add(name, *self._of([row.get(name) for row in rows]))

    def add(self, name: str, kind: Any, is_large: bool = False) -> None:
        """Take note of a type of a column, and whether it has integers that a float cannot hold."""
        if is_large:
            self._large.add(name)
        self._found[name] = joined(self._found[name], kind) if name in self._found else kind

    def names(self) -> list[str]:
        """The columns, in the order in which they came."""
        return list(self._found)

    def is_empty(self, name: str) -> bool:
        """Whether a column has nothing but missing values."""
        kind = self._found.get(name)
        return kind is not None and bool(need("pyarrow", extra="bulk").types.is_null(kind))

    def floats(self) -> list[str]:
        """The columns of floats."""
        is_floating = need("pyarrow", extra="bulk").types.is_floating
        return [name for name, kind in self._found.items() if is_floating(kind)]

    def merge(self, other: Types) -> None:
        """Take note of what another one has seen."""
        for name, kind in other._found.items():
            self.add(name, kind, name in other._large)

    def schema(self) -> Any:
        """A `pyarrow.Schema` of the columns, in the order in which they came."""
        pa = need("pyarrow", extra="bulk")
        rounded = self._large.intersection(self.floats())
        kinds = {name: pa.string() if name in rounded else k for name, k in self._found.items()}
        return pa.schema([(name, settled(kind)) for name, kind in kinds.items()])


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
    """What makes a value of a text file one of the type.

    It raises a ValueError where something would be lost, which is never so for values that the type
    was found from.
    """
    pa = need("pyarrow", extra="bulk")
    if pa.types.is_string(kind):
        return _as_text
    if pa.types.is_floating(kind):
        return _as_number
    if pa.types.is_integer(kind):
        return _as_whole
    return lambda value: value


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, (bool, int, float, list, dict)):  # a date, a decimal, bytes
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _as_number(value: Any) -> float | None:
    number = _number(value)
    is_long = isinstance(value, int) or (isinstance(value, str) and _LONG.fullmatch(value))
    if is_long and number != int(value):
        raise ValueError(f"{value!r} has more digits than a float holds")
    return number


def _number(value: Any) -> float | None:
    is_text = isinstance(value, str)
    if isinstance(value, bool) or (is_text and (_CODE.match(value) or "_" in value)):
        raise ValueError(f"{value!r} is no number")
    return None if value is None else float(value)


def _as_whole(value: Any) -> int | None:
    number = _number(value)
    if number is None:
        return None
    if not number.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    try:
        return int(value)
    except ValueError:  # a text as 7.0
        return int(number)


def array_of(values: list[Any]) -> Any | None:
    """The values as a `pyarrow.Array` of the type they have; None if they have none in common."""
    pa = need("pyarrow", extra="bulk")
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # several types; numbers too large
        return None


def has_large(array: Any) -> bool:
    """Whether an array of integers has one that a float does not hold."""
    pc = need("pyarrow.compute", extra="bulk")
    ends = pc.min_max(array).as_py().values()
    return any(end is not None and abs(end) > _LARGEST_EXACT for end in ends)


def _of_values(values: list[Any]) -> tuple[Any, bool]:
    """The type of values, and whether they have an integer that a float does not hold."""
    pa = need("pyarrow", extra="bulk")
    array = array_of(values)
    if array is None:
        return pa.string(), False
    return array.type, pa.types.is_integer(array.type) and has_large(array)


def _of_cells(cells: list[str | None]) -> tuple[Any, bool]:
    """Of a csv file: numbers only where they give back the cells, unlike 0171 or 0x1F."""
    pa = need("pyarrow", extra="bulk")
    known = [cell for cell in cells if cell is not None]
    if not known:
        return pa.null(), False
    is_large = len(max(known, key=len)) > _LONGEST_EXACT and any(map(_LONG.fullmatch, known))
    texts = pa.array(known, pa.string())
    for kind in (pa.int64(),) if is_large else (pa.int64(), pa.float64()):
        try:
            texts.cast(kind)
        except pa.ArrowInvalid:
            continue
        return (pa.string(), False) if any(map(_CODE.match, known)) else (kind, is_large)
    return pa.string(), False


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
