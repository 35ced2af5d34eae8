"""The last line of a card: a mark by which one that nobody has changed is known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

_MARK = re.compile(r"\s*<!-- Made by sentune, ([0-9a-f]{16})\. .* -->\s*\Z")
_LINE = "<!-- Made by sentune, {}. While nothing above is changed, a later push replaces it. -->"


def marked(text: str) -> str:
    """A card with the mark of its content as its last line."""
    body = _MARK.sub("", text).rstrip()
    return f"{body}\n\n{_LINE.format(_digest(body))}\n"


def is_untouched(text: str) -> bool:
    """Whether a card was made by sentune and is as it was then."""
    found = _MARK.search(text)
    return found is not None and found[1] == _digest(text[: found.start()])


def still_marked(text: str, change: Callable[[str], str]) -> str:
    """A card after a change of our own: one that nobody else has changed keeps a true mark."""
    after = change(text)
    return marked(after) if is_untouched(text) and after != text else after


def _digest(body: str) -> str:
    # The Hub's editor, and git, may change the ends of lines.
    lines = [line.rstrip() for line in body.strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()[:16]
