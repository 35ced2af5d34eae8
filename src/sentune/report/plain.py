"""Any record as values that a page can show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 2000  # characters of a text
_ESCAPED = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})


def plain(value: Any) -> Any:
    """The value with texts that any file can hold, and None for numbers that are not finite.

    Halves of surrogate pairs become question marks, control characters spaces, and a very long
    text is cut.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_text(str(name)): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # of numpy
        return plain(value.tolist())
    return _text(str(value))


def embedded(value: Any) -> str:
    """JSON that can stand in a script element: it cannot end it, nor begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def within(texts: Sequence[str], most: int, size: int) -> list[str]:
    """Texts of at most so many characters each, and of so many bytes in a page, all together.

    Of long texts as many characters are kept as all of them may have alike.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        fits = sum(_size(shortened(text, middle)) for text in texts) <= size
        low, high = (middle, high) if fits else (low, middle - 1)
    return [shortened(text, low) for text in texts]


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters; one that is cut ends with an ellipsis."""
    return text if len(text) <= most else text[: max(0, most - 1)].rstrip() + "…"


def _size(text: str) -> int:
    return len(embedded(text).encode())


def _text(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + " …"
    return "".join(sign if sign >= " " or sign in "\n\t" else " " for sign in text)
