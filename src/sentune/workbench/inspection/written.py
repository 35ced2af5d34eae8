"""Rows to files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sentune.disk import files
from sentune.errors import SettingError

_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("to_csv", {}),
    ".tsv": ("to_csv", {"sep": "\t"}),
    ".jsonl": ("to_json", {}),
    ".json": ("to_json", {"lines": False}),
    ".parquet": ("to_parquet", {}),
}


def check(path: Path) -> None:
    """SettingError if rows cannot be written to such a file."""
    if path.suffix.lower() not in _METHODS:
        raise SettingError(f"{path} must end in {', '.join(_METHODS)}")


def write(rows: Any, path: Path) -> None:
    """Write a `datasets.Dataset` atomically, as the ending of the file says."""
    check(path)
    method, options = _METHODS[path.suffix.lower()]
    content = io.BytesIO()
    getattr(rows.with_format(None), method)(content, **options)
    files.write(path, content.getvalue())


def with_columns(rows: Any, columns: dict[str, list[Any]]) -> Any:
    """The rows with columns added, under other names where they have such ones already."""
    for name, cells in columns.items():
        while name in rows.column_names:
            name += "_"
        rows = rows.add_column(name, cells)
    return rows
