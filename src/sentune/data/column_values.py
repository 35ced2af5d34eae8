"""What the values of a column are, and what makes others of them, with Apache Arrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sentune._lazy import need
from sentune.data.corpus_types import NO_NUMBER

_LOOKED_AT = 100  # values that show that a column holds no numbers
_COMMA = r"^[+-]?\d+,\d+$"


def numbers_in(column: Any) -> Any:
    """The type of the numbers that a column of texts holds; None if it holds others."""
    pa = need("pyarrow", extra="train")
    found: Any = None
    for chunk in (column.slice(0, _LOOKED_AT).combine_chunks(), *column.chunks):
        known = chunk.drop_null()
        if not len(known):
            continue
        kind = _numbers_in(pa, known)
        if kind is None:
            return None
        found = kind if found is None or pa.types.is_integer(found) else found
    return found


def _numbers_in(pa: Any, texts: Any) -> Any:
    pc = need("pyarrow.compute", extra="train")
    trimmed = pc.utf8_trim_whitespace(texts)
    if pc.any(pc.match_substring_regex(trimmed, NO_NUMBER)).as_py():
        return None
    for kind in (pa.int64(), pa.float64()):
        try:
            trimmed.cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return None


def counted(pa: Any, columns: Sequence[Any]) -> tuple[int, int, int]:
    """How many different values two columns have, and how many different pairs of these."""
    pairs = pa.table(list(columns), ["first", "second"]).group_by(["first", "second"])
    first, second = (len(column.unique()) for column in columns)
    return first, second, pairs.aggregate([]).num_rows


def are_binary(column: Any) -> bool:
    """Whether a column of texts has no others than 0 and 1."""
    pc = need("pyarrow.compute", extra="train")
    values = pc.utf8_trim_whitespace(column).unique().to_pylist()
    return {value for value in values if value is not None} <= {"0", "1"}


def are_with_comma(column: Any) -> bool:
    """Whether a column of texts has numbers with a comma for the decimal point."""
    pc = need("pyarrow.compute", extra="train")
    changed = pc.replace_substring_regex(column, _COMMA, "0.5")
    return numbers_in(changed) is not None


def with_comma(kind: Any) -> Callable[[Any], Any]:
    """Makes numbers of a type of such texts."""
    pc = need("pyarrow.compute", extra="train")
    return lambda array: to_numbers(kind)(pc.replace_substring(array, ",", "."))


def to_numbers(kind: Any) -> Callable[[Any], Any]:
    """Makes numbers of a type of texts."""
    pc = need("pyarrow.compute", extra="train")
    return lambda array: pc.utf8_trim_whitespace(array).cast(kind)


def to_places(words: Sequence[str]) -> Callable[[Any], Any]:
    """Makes of words their places in a list."""
    pa = need("pyarrow", extra="train")
    pc = need("pyarrow.compute", extra="train")
    known = pa.array(words, pa.string())
    return lambda array: pc.index_in(array, value_set=known).cast(pa.int64())


def are_whole(column: Any) -> bool:
    """Whether all numbers are whole, as 1.0; those that are missing do not count."""
    pc = need("pyarrow.compute", extra="train")
    known = pc.filter(column, pc.is_finite(column))  # null where it is null
    return len(known) > 0 and bool(pc.all(pc.equal(known, pc.floor(known))).as_py())


def in_turn(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One conversion after another."""
    return lambda array: second(first(array))


def to_whole(array: Any) -> Any:
    """Numbers such as 1.0 as whole ones; what is missing stays so."""
    pa = need("pyarrow", extra="train")
    pc = need("pyarrow.compute", extra="train")
    return pc.if_else(pc.is_finite(array), array, None).cast(pa.int64())


def same(array: Any) -> Any:
    """The values as they are."""
    return array
