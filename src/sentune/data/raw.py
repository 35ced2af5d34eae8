"""What a look into a file of data shows, before a library reads it."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sentune.disk import pointers
from sentune.errors import DatasetError

# Endings of files with rows -> how they are read.
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "txt",
}
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
COMPRESSIONS = (*OPENERS, ".zst")
LOOKED_AT = 20  # lines that show how a table is written
_SEPARATORS = (",", ";", "\t", "|")


def check(path: Path) -> None:
    """Refuse a file without content, and a Git LFS pointer in place of a file.

    Raises:
        DatasetError: If it is either.
    """
    if not path.stat().st_size:
        raise DatasetError(f"{path} is empty")
    if found := pointers.advice(path):
        raise DatasetError(found)


def separator_of(lines: Sequence[str], usual: str) -> str:
    """What separates the cells of a table, of which these are the first lines.

    It is `usual`, unless that gives one cell and another gives the lines as many cells each, more
    than one.
    """
    if len(next(csv.reader(lines, delimiter=usual), ())) != 1:
        return usual
    for other in _SEPARATORS:
        widths = {len(row) for row in csv.reader(lines, delimiter=other) if row}
        if len(widths) == 1 and min(widths) > 1:
            return other
    return usual
