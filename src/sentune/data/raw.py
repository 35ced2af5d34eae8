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
_MOST_OTHERS = 0.25  # of the rows of a table
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

    It is `usual`, unless that gives one cell and another gives the first line several, and as many
    to the other lines, one in four excepted: rows may be broken.
    """
    if len(next(csv.reader(lines, delimiter=usual), ())) != 1:
        return usual
    found = {other: _others(lines, other) for other in _SEPARATORS if other != usual}
    best = min(found, key=found.__getitem__)
    return best if found[best] <= _MOST_OTHERS else usual


def _others(lines: Sequence[str], separator: str) -> float:
    """Which share of the rows has another number of cells than the first one, which has several."""
    widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
    if not widths or widths[0] == 1:
        return 1.0
    return sum(width != widths[0] for width in widths) / len(widths)
