"""Any value as text in one line."""

from __future__ import annotations

from typing import Any


def clean(text: Any, limit: int | None = None) -> str:
    """A text in one line, without what no file can hold: control characters and halves of pairs."""
    line = " ".join(str(text).encode("utf-8", "replace").decode().split())
    line = "".join(sign if sign.isprintable() else " " for sign in line)
    return line if limit is None or len(line) <= limit else f"{line[: limit - 3].rstrip()}..."
