"""Any value as text in one line, and as text that means nothing in Markdown or HTML."""

from __future__ import annotations

from typing import Any

# What has a meaning in Markdown, HTML or the Hub's formulas, as character references.
_MEANING = {ord(sign): f"&#{ord(sign)};" for sign in "&<>`*_[]|\\~$#"}
WIDEST_CELL = 300


def clean(text: Any, limit: int | None = None) -> str:
    """A text in one line, without what no file can hold: control characters and halves of pairs.

    Args:
        text: Any value; what is no string is shown as one.
        limit: Most characters; a longer text is cut and ends in "...".
    """
    line = " ".join(str(text).encode("utf-8", "replace").decode().split())
    line = "".join(sign if sign.isprintable() else " " for sign in line)
    return line if limit is None or len(line) <= limit else f"{line[: limit - 3].rstrip()}..."


def plain(text: Any, limit: int | None = WIDEST_CELL) -> str:
    """A text that reads as it is, wherever it stands in a line or a table.

    Args:
        text: Any value.
        limit: Most characters.
    """
    # "://" would become a link.
    return clean(text, limit).translate(_MEANING).replace("://", "&#58;//")


def number(value: Any) -> str:
    """A number as people read it: four digits after the point, thousands apart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if isinstance(value, int) or value.is_integer() and abs(value) >= 1000:
        return f"{int(value):,}"
    return f"{value:.4f}" if abs(value) >= 1e-3 or not value else f"{value:.2e}"
