"""What a user hands over -> a list of items, each checked.

An item is a text, a pair of texts (read as one input of two segments), or `{route: text}` for a
routed model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sentune.errors import InputError, InputTypeError
from sentune.tables import column_names, holds_rows, rows_of

_ALLOWED = "a text must be a str, a pair of str, or a {route: str} dict"


def as_items(inputs: Any) -> tuple[list[Any], bool]:
    """A list of checked items, and whether the caller gave a single str or {route: str} dict.

    All else that holds rows is a list of items: a tuple, an array, a column of a table, a table of
    one column, a generator.
    """
    if getattr(inputs, "ndim", 1) == 0 and hasattr(inputs, "tolist"):  # np.array("a text")
        inputs = inputs.tolist()
    if isinstance(inputs, (str, Mapping)):
        items, is_single = [inputs], True
    elif isinstance(inputs, (bytes, bytearray)) or not holds_rows(inputs):
        raise InputTypeError(
            f"got {type(inputs).__name__}; {_ALLOWED}, or a list of those. "
            "Decode bytes first: data.decode('utf-8')"
        )
    else:
        items, is_single = rows_of(inputs, "inputs"), False
    check_items(items)
    if (error := bad_unicode(items)) is not None:
        raise error
    return items, is_single


def stream_of(inputs: Any) -> Iterable[Any]:
    """The items of an iterable as they come, not yet checked; of a table, those of its column."""
    if isinstance(inputs, (str, bytes, Mapping)) or not holds_rows(inputs):
        raise InputTypeError(
            f"encode_stream takes an iterable of texts, got {type(inputs).__name__}; "
            "give a list, a generator or an open file, or use encode for one text"
        )
    names = column_names(inputs)
    if names is not None and len(names) == 1 and not hasattr(inputs, "__len__"):
        return inputs[names[0]]  # a dataset that is a stream itself
    is_odd = names is not None or isinstance(inputs, (set, frozenset))
    return rows_of(inputs, "inputs") if is_odd else inputs


def check_items(items: list[Any]) -> None:
    """Refuse the first item that is not a text, a pair or a {route: text} dict."""
    if set(map(type, items)) <= {str}:  # one pass in C for the usual case
        return
    for row, item in enumerate(items):
        if not _is_item(item):
            raise _no_item(item, row)


def checked(item: Any, row: int) -> Any:
    """An item of a stream, after the checks of a list of them."""
    if not isinstance(item, str) and not _is_item(item):
        raise _no_item(item, row)
    if (error := bad_unicode([item], row)) is not None:
        raise error
    return item


def bad_unicode(items: list[Any], start: int = 0) -> InputError | None:
    """The error for the first item that has a lone surrogate; None if none has."""
    for row, item in enumerate(items, start):
        for text in texts_of(item):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                return InputError(
                    f"row {row} has a lone surrogate (U+{ord(text[error.start]):04X}) at character "
                    f"{error.start}, which is no valid text; repair it with "
                    "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
                )
    return None


def texts_of(item: Any) -> list[str]:
    """The strings of an item: one, or two for a pair."""
    if isinstance(item, str):
        return [item]
    return list(item.values()) if isinstance(item, Mapping) else list(item)


def character_length(item: Any) -> int:
    """How many characters an item has; a cheap estimate of its tokens."""
    return sum(map(len, texts_of(item)))


def with_prefix(item: Any, prefix: str) -> Any:
    """The item with a prompt before its (first) text."""
    if isinstance(item, str):
        return prefix + item
    if isinstance(item, Mapping):
        return {route: prefix + text for route, text in item.items()}
    return (prefix + item[0], *item[1:])


def map_texts(item: Any, change: Any) -> Any:
    """The item with a function applied to each of its strings."""
    if isinstance(item, str):
        return change(item)
    if isinstance(item, Mapping):
        return {route: change(text) for route, text in item.items()}
    return tuple(change(text) for text in item)


def _no_item(item: Any, row: int) -> InputTypeError:
    return InputTypeError(
        f"row {row} is {_show(item)} ({type(item).__name__}); {_ALLOWED}. "
        "Drop such rows, or fill them with a text"
    )


def _is_item(item: Any) -> bool:
    if isinstance(item, str):
        return True
    if isinstance(item, Mapping):
        return len(item) == 1 and all(isinstance(text, str) for text in item.values())
    is_pair = isinstance(item, (list, tuple)) and len(item) == 2
    return is_pair and all(isinstance(text, str) for text in item)


def _show(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 60 else text[:57] + "..."
