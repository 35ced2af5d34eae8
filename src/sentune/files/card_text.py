"""Markdown that can hold any text: nothing in a text can start a table, a tag or a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

# What has a meaning in Markdown, HTML or the Hub's formulas, as character references.
_MEANING = {ord(sign): f"&#{ord(sign)};" for sign in "&<>`*_[]|\\~$#"}
_CODE = re.compile(r"[^`|<>&]*")  # what code may hold as it is, also in a table
_WIDEST_CELL = 300


def clean(text: Any, limit: int | None = None) -> str:
    """A text in one line, without what no file can hold: control characters and halves of pairs.

    Args:
        text: Any value; what is no string is shown as one.
        limit: Most characters; a longer text is cut and ends in "...".
    """
    line = " ".join(str(text).encode("utf-8", "replace").decode().split())
    line = "".join(sign if sign.isprintable() else " " for sign in line)
    return line if limit is None or len(line) <= limit else f"{line[: limit - 3].rstrip()}..."


def plain(text: Any, limit: int | None = _WIDEST_CELL) -> str:
    """A text that reads as it is, wherever it stands in a line or a table.

    Args:
        text: Any value.
        limit: Most characters.
    """
    # "://" would become a link.
    return clean(text, limit).translate(_MEANING).replace("://", "&#58;//")


def code(text: Any, limit: int | None = _WIDEST_CELL) -> str:
    """A text in the letters of code, within a line or a table.

    Args:
        text: Any value.
        limit: Most characters.
    """
    line = clean(text, limit)
    return f"`{line}`" if line and _CODE.fullmatch(line) else f"<code>{plain(line, None)}</code>"


def number(value: Any) -> str:
    """A number as people read it: four digits after the point, thousands apart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if isinstance(value, int) or value.is_integer() and abs(value) >= 1000:
        return f"{int(value):,}"
    return f"{value:.4f}" if abs(value) >= 1e-3 or not value else f"{value:.2e}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        heads: Its head, already in Markdown.
        rows: Its cells, already in Markdown.
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(facts: Iterable[tuple[str, str]]) -> str:
    """A list of names and what goes with each.

    Args:
        facts: Name and value, already in Markdown; those without a value are left out.
    """
    return "\n".join(f"- **{name}:** {value}" for name, value in facts if value)


def fenced(content: str, language: str = "") -> str:
    """A block of code, whatever is in it.

    Args:
        content: The lines.
        language: For the colours.
    """
    longest = max(map(len, re.findall(r"`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content.strip(chr(10))}\n{fence}"


def folded(title: str, content: str) -> str:
    """A part that a reader opens with a click.

    Args:
        title: What to click on, already in Markdown.
        content: What is shown then.
    """
    return f"<details>\n<summary>{title}</summary>\n\n{content}\n\n</details>"
