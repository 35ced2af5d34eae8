"""The rows of docs/ecosystem.md, one file each, and the page with the tables of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.ecosystem.environments import HOME, REPOSITORY

RESULTS = HOME / "results"
TEMPLATE = Path(__file__).with_name("ecosystem.md.in")
PAGE = REPOSITORY / "docs" / "ecosystem.md"


def write_row(kind: str, name: str, row: dict[str, Any]) -> None:
    """Keep a row of the table of libraries ("library") or of folders ("folder").

    Args:
        kind: Which table.
        name: Of the row's file.
        row: With name, release, job, difference and note; of a library also calls and releases.
    """
    folder = RESULTS / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(row, indent=1), encoding="utf-8")


def render() -> Path:
    """Write the page, of all rows that are there."""
    rows = {kind: list(map(_read, sorted(RESULTS.glob(f"{kind}/*.json")))) for kind in _LINES}
    releases = sorted(
        {f"{name} {row['releases'][name]}" for row in rows["library"] for name in _OF}
    )
    filled = {f"{{{kind}}}": "\n".join(map(line, rows[kind])) for kind, line in _LINES.items()}
    text = TEMPLATE.read_text(encoding="utf-8")
    for mark, value in {**filled, "{releases}": ", ".join(releases)}.items():
        text = text.replace(mark, value)
    PAGE.write_text(text, encoding="utf-8")
    return PAGE.relative_to(REPOSITORY)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _library(row: dict[str, Any]) -> str:
    calls = ", ".join(f"{name} {times}" for name, times in row["calls"].items())
    return _line(row["name"], row["release"], row["job"], row["difference"], calls, row["note"])


def _folder(row: dict[str, Any]) -> str:
    return _line(row["name"], row["release"], row["job"], row["difference"], row["note"])


def _line(*cells: Any) -> str:
    shown = (f"{cell:.1e}" if isinstance(cell, float) and cell else str(cell) for cell in cells)
    return f"| {' | '.join(shown)} |"


_LINES = {"library": _library, "folder": _folder}
_OF = ("sentune", "torch", "transformers")
