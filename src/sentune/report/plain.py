"""Any record as values that a page can show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_LONGEST = 2000  # characters of a text


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


def _text(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + " …"
    return "".join(sign if sign >= " " or sign in "\n\t" else " " for sign in text)
