"""Values -> Markdown in which nothing can start a table, a tag or a link: the filters of the card.

What they give is `Markup`, which the template takes as it is; all else passes `plain` first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from sentune.record.words import clean

WIDEST_CELL = 300
_HUB = "https://huggingface.co"
# What has a meaning in Markdown, HTML or the Hub's formulas, as character references.
_MEANING = {ord(sign): f"&#{ord(sign)};" for sign in "&<>`*_[]|\\~$#"}
_CODE = re.compile(r"[^`|<>&]+")  # what code may hold as it is, also in a table


def plain(text: Any, limit: int | None = WIDEST_CELL) -> Markup:
    """A text that reads as it is, wherever it stands in a line or a table."""
    # "://" would become a link.
    return Markup(clean(text, limit).translate(_MEANING).replace("://", "&#58;//"))


def escaped(value: Any) -> Markup:
    """Markdown as it is, any other value in plain text."""
    return value if isinstance(value, Markup) else plain(value)


def code(text: Any) -> Markup:
    """A text in the letters of code, within a line or a table."""
    line = clean(text, WIDEST_CELL)
    return Markup(f"`{line}`" if _CODE.fullmatch(line) else f"<code>{plain(line, None)}</code>")


def number(value: Any) -> Markup:
    """A number as people read it: four digits after the point, thousands apart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if isinstance(value, int) or value.is_integer() and abs(value) >= 1000:
        return Markup(f"{int(value):,}")
    return Markup(f"{value:.4f}" if abs(value) >= 1e-3 or not value else f"{value:.2e}")


def bold(value: Any, is_bold: bool) -> Markup:
    """A value in bold letters, if it is to be and there is something to see of it."""
    text = escaped(value)
    return Markup(f"**{text}**") if is_bold and text else text


def link(name: str, kind: str = "", revision: str | None = None) -> Markup:
    """A link to something on the Hub; `kind` is "datasets/" or nothing, for a model."""
    at = "" if revision is None else f"/tree/{revision}"
    return Markup(f"[{plain(name)}]({_HUB}/{kind}{quote(name + at)})")


def table(rows: Iterable[Iterable[Any]], heads: Sequence[Any]) -> Markup:
    """A table of rows of cells below a head."""
    lines = [heads, [Markup("---")] * len(heads), *rows]
    return Markup("\n".join(f"| {' | '.join(map(escaped, cells))} |" for cells in lines))


def bullets(facts: Iterable[tuple[Any, Any]]) -> Markup:
    """A list of names and the value, or values, of each; those without a value are left out."""
    lines = []
    for name, value in facts:
        values = map(escaped, value if isinstance(value, list) else [value])
        if text := ", ".join(filter(None, values)):
            lines.append(f"- **{escaped(name)}:** {text}")
    return Markup("\n".join(lines))


def fenced(content: str, language: str = "") -> Markup:
    """A block of code, whatever is in it."""
    lines = "\n".join(_printable(line) for line in content.splitlines()).strip("\n")
    longest = max(map(len, re.findall(r"`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{lines}\n{fence}")


def quoted(text: str) -> Markup:
    """A text as a string of Python, in one line that can be seen; for a block of code."""
    return Markup("".join(map(_seen, json.dumps(text, ensure_ascii=False))))


def as_json(value: Any) -> str:
    """A value as JSON, a line for each entry of a dict; for `code` or `fenced`."""
    if not (isinstance(value, Mapping) and value):
        return _json_line(value)
    lines = [f"  {json.dumps(str(name))}: {_json_line(part)}" for name, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _json_line(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False, default=str), 500)


def _printable(line: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in line)


def _seen(sign: str) -> str:
    if sign.isprintable():
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 2**16 else f"\\U{ord(sign):08x}"


_ALL = (plain, code, number, bold, link, table, bullets, fenced, quoted, as_json)
FILTERS = {one.__name__: one for one in _ALL}
