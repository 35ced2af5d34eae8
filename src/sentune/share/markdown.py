"""Markdown that can hold any text: nothing in a text can start a table, a tag or a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sentune.record.words import WIDEST_CELL, clean, plain

_CODE = re.compile(r"[^`|<>&]*")  # what code may hold as it is, also in a table


def code(text: Any, limit: int | None = WIDEST_CELL) -> str:
    """A text in the letters of code, within a line or a table.

    Args:
        text: Any value.
        limit: Most characters.
    """
    line = clean(text, limit)
    return f"`{line}`" if line and _CODE.fullmatch(line) else f"<code>{plain(line, None)}</code>"


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
