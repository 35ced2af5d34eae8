"""Where rows are meant: lists of them, columns of tables, and what must be taken for neither.

Iterating over a table gives the names of its columns, over a dict its keys, over a text its
letters. So what a caller hands over is looked at here before anything iterates over it. A table is
known by what it can do (pandas, polars, pyarrow, datasets); none of these is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sentune.errors import InputTypeError

_UNORDERED = (set, frozenset)


def column_names(data: Any) -> list[Any] | None:
    """The names of the columns of a table; None if it is no table."""
    # Of a list of rows that says what they hold, the cells of a column cannot be had by its name.
    if len(getattr(data, "shape", ())) != 2 and not hasattr(data, "features"):
        return None
    names = getattr(data, "column_names", None)
    names = getattr(data, "columns", None) if names is None else names
    return list(names) if isinstance(names, Iterable) and not isinstance(data, Mapping) else None


def cells(data: Any, name: Any) -> list[Any]:
    """The cells of one column of a table."""
    return _listed(data[name])


def holds_rows(data: Any) -> bool:
    """Whether there is more than one value in it: not in a number, nor in `np.array("a text")`."""
    can_be_read = isinstance(data, Iterable) or hasattr(data, "__getitem__")
    return can_be_read and getattr(data, "ndim", 1) != 0


def rows_of(data: Any, name: str, width: int = 1) -> list[Any]:
    """The rows as a list: of a list, an array, an iterable, or of a table with `width` columns.

    Args:
        data: What the caller gave.
        name: Of the argument, for the error.
        width: Columns of a table of rows; with more than one, each row is a tuple.

    Raises:
        InputTypeError: If its iteration would not give rows.
    """
    names = column_names(data)
    if names is not None and len(names) in (1, width):
        columns = [cells(data, column) for column in names]
        return columns[0] if len(names) == 1 else list(zip(*columns, strict=True))
    if names is not None:
        raise InputTypeError(
            f"{name} is a table ({type(data).__name__}) with the columns "
            f"{', '.join(map(str, names))}; choose {_one_or(width)}, as in "
            f"{name} = table[{(names or ['text'])[0]!r}].tolist()"
        )
    if isinstance(data, Mapping):
        raise InputTypeError(
            f"{name} must be a list, got a {type(data).__name__}, whose iteration gives its keys; "
            f"give list({name}.values())"
        )
    if isinstance(data, _UNORDERED):
        raise InputTypeError(
            f"{name} must be a list, got a {type(data).__name__}, which has no order; "
            f"give sorted({name})"
        )
    if isinstance(data, (str, bytes, bytearray)) or not holds_rows(data):
        raise InputTypeError(
            f"{name} must be a list, got a single {type(data).__name__}; give [...] around it, "
            "even for one"
        )
    return _listed(data)


def records_of(data: Any, name: str) -> list[Any]:
    """The rows as a list, those of a table as dicts; for the rest as `rows_of`.

    Args:
        data: What the caller gave.
        name: Of the argument, for the error.
    """
    names = column_names(data)
    if names is None:
        return rows_of(data, name)
    columns = zip(*(cells(data, column) for column in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in columns]


def numbers_of(data: Any, name: str = "embeddings") -> Any:
    """An array or list of numbers as it is; of a table of numbers, an array `(b, d)`.

    A table with one column of vectors gives a list of these.

    Args:
        data: What the caller gave.
        name: Of the argument, for the error.

    Raises:
        InputTypeError: If it is a table of something else, a dict, a set or a text.
    """
    names = column_names(data)
    if names is not None:
        if len(names) == 1 and hasattr((column := cells(data, names[0]) or [0])[0], "__len__"):
            return column
        values = data.to_numpy() if hasattr(data, "to_numpy") else None
        if values is not None and values.dtype.kind in "biuf":
            return values
        raise InputTypeError(
            f"{name} is a table ({type(data).__name__}) with the columns "
            f"{', '.join(map(str, names))}, which are not all numbers; leave out the others, or "
            "give the column of vectors: table['embedding'].tolist()"
        )
    if isinstance(data, (str, bytes, bytearray, Mapping, *_UNORDERED)):
        more = f"; give list({name}.values())" if isinstance(data, Mapping) else ""
        raise InputTypeError(
            f"{name} must be numbers in a tensor, a numpy array, a list or a table, got a "
            f"{type(data).__name__}{more}"
        )
    is_column = str(getattr(data, "dtype", "")) == "object" and data.ndim == 1
    return list(data) if is_column else data  # each cell a vector


def check_dicts(**arguments: Any) -> None:
    """Refuse what is no dict where ids and what belongs to them are wanted.

    Raises:
        InputTypeError: Naming the first argument that is none.
    """
    for name, value in arguments.items():
        if not isinstance(value, Mapping):
            raise InputTypeError(
                f"{name} must be a dict whose keys are ids, got a {type(value).__name__}; make one "
                "with dict(enumerate(texts)), or dict(zip(table['id'], table['text']))"
            )


def _listed(data: Any) -> list[Any]:
    # `tolist` and `to_pylist` turn the items of numpy, pandas and pyarrow into plain ones.
    for method in ("tolist", "to_pylist"):
        if hasattr(data, method):
            return getattr(data, method)()
    return list(data)


def _one_or(width: int) -> str:
    return "one of them" if width == 1 else f"{width} of them, or one"
