"""The page: one HTML file that opens without a network, with its plots drawn by Vega-Lite.

The record holds texts of other people. All of it passes jinja2's escaping, or is JSON without a
"<" in it that a script of the page writes into text nodes; nothing of it ever becomes markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.errors import InputTypeError, MissingDependencyError
from sentune.report.plain import embedded, plain
from sentune.report.sections import view_of
from sentune.report.words import FILTERS

_HERE = Path(__file__).parent
_HANDED_ON = "window.sentunePlot=vegaEmbed;"
_WITHOUT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sentune</title>
<p>{reason}.</p><p>All figures are in run.json.</p></html>
"""


def page(record: Mapping[str, Any]) -> str:
    """The page of a record, the dict in the `run.json` of a run.

    Any part may be missing, and then its section is left out. Two calls with equal records give
    the same page.

    Args:
        record: Plain values as JSON holds them; what is not finite counts as not there.

    Returns:
        A whole HTML file, under 3 MB, to be written as UTF-8. It asks no network for anything.

    Raises:
        InputTypeError: If the record is no dict.
        MissingDependencyError: If the extra `report` is not installed; ask `missing` beforehand.
    """
    if not isinstance(record, Mapping):
        raise InputTypeError(
            f"a record must be a dict, got {type(record).__name__}; read a run.json with "
            "json.load and pass what it gives"
        )
    script = _script()
    view = view_of(plain(dict(record)))
    return str(
        _template().render(
            **view,
            plots=_as_it_is(embedded(view["charts"])),
            css=_own("page.css"),
            js=_own("page.js"),
            script=script,
        )
    )


def page_or_reason(record: Mapping[str, Any]) -> tuple[str, str | None]:
    """The page of a record and None; where it cannot be made, a page that says why, and the reason.

    For the end of a run, whose results must not be lost with their pictures.
    """
    try:
        return page(record), None
    except Exception as error:
        reason = f"the report could not be made ({type(error).__name__}: {error})"
        return _WITHOUT.format(reason=escape(str(plain(reason)))), reason


def missing() -> str | None:
    """What is not installed that a page needs, with the pip command for it; None if all is there.

    To be asked before a long run, so that its report does not fail at the end.
    """
    try:
        need("vl_convert", extra="report")
    except MissingDependencyError as error:
        return str(error)
    return None


@cache
def _script() -> Any:
    """Vega and Vega-Lite as JavaScript without any import, whose names stay its own."""
    from markupsafe import Markup

    libraries = need("vl_convert", extra="report")
    bundle = libraries.javascript_bundle(_HANDED_ON).replace("</script", "<\\/script")
    return Markup(f"(function(){{{bundle}\n}})();")


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined  # it takes time to import

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: "" if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.from_string((_HERE / "page.html.jinja").read_text(encoding="utf-8"))


@cache
def _own(name: str) -> Any:
    """A file of this package."""
    return _as_it_is((_HERE / name).read_text(encoding="utf-8"))


def _as_it_is(text: str) -> Any:
    """A text that is not escaped."""
    from markupsafe import Markup

    return Markup(text)
