"""Rows of the training data in a card: how many there are, and the card without them."""

from __future__ import annotations

import re

from sentune.record.model import BLOCK
from sentune.share.kinds import KINDS
from sentune.share.mark import still_marked

# As our template writes them, and that of sentence-transformers.
_TABLE = re.compile(
    r"^(?:The first of them:\n|\* Samples:)\n((?: *\|.*(?:\n|\Z))+)\n?", re.MULTILINE
)
_WIDGET = re.compile(r"^widget:.*?(?=^[A-Za-z_]|\Z)", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"^- source_sentence:", re.MULTILINE)
_HEAD = 2  # lines of a table above its rows


def rows_shown(text: str) -> int:
    """How many rows of the training data a card shows, in tables or as examples to try."""
    tables = sum(found[1].rstrip().count("\n") + 1 - _HEAD for found in _TABLE.finditer(text))
    widget = _widget_of(text)
    return max(tables, len(_SOURCE.findall(widget)) or bool(widget))


def without_rows(text: str) -> str:
    """A card without the rows of the training data that it shows."""
    return still_marked(text, _stripped)


def _stripped(text: str) -> str:
    widget, front = _widget_of(text), BLOCK.match(text)
    if front is not None and widget:
        start, end = front.span(2)
        block = text[start:end].replace(widget.rstrip("\n"), "")
        text = text[:start] + block.strip("\n") + text[end:]
    return _TABLE.sub("", text)


def _widget_of(text: str) -> str:
    """The examples at the front of a card; "" if there are none, or only our own."""
    front = BLOCK.match(text)
    found = _WIDGET.search(front[2]) if front is not None else None
    if found is None or any(one.examples and one.examples[0] in found[0] for one in KINDS):
        return ""
    return found[0]
