"""Which column of rows has the texts, where nobody says it: one rule for files and corpora."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.data import encodings
from sentune.data.columns import input_columns
from sentune.data.corpus_rows import is_text, rows, with_encoding
from sentune.data.corpus_types import Types
from sentune.data.lines import How
from sentune.data.raw import FORMATS
from sentune.data.sources import files_of
from sentune.errors import DatasetError

TEXT = "text"
ID_NAMES = ("id", "_id")
SEEN = 1_000  # rows that say which column has the texts
_WITHOUT_SPACES = 0x2E80  # from here on, scripts that put no spaces between words


def likeliest(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The column of those with texts that is meant most likely; None if there is none.

    It is "text", else the first whose cells have several words, unlike those of ids and classes,
    in the first rows; else the first.
    """
    names = [name for name in names if name not in ID_NAMES] or list(names)
    if TEXT in names:
        return TEXT
    if len(names) < 2:
        return next(iter(names), None)
    seen = list(islice(rows, SEEN))
    for name in names:
        if any(_is_wordy(row.get(name)) for row in seen):
            return name
    return names[0]


def with_texts(schema: Any) -> list[str]:
    """The columns of a `pyarrow.Schema` that have texts, and no labels by their name."""
    is_string = need("pyarrow", extra="bulk").types.is_string
    names = input_columns(list(schema.names))
    return [name for name in names if is_string(schema.field(name).type)]


def text_columns(
    source: str | Path, split: str = "train", encoding: str | None = None
) -> list[str]:
    """The columns with texts of what `read` reads, the likeliest first.

    Args:
        source: A file, folder, pattern or id on the Hub.
        split: Which part, where there are several.
        encoding: Of text files; None if it is to be detected.

    Raises:
        DatasetError: If there is none.
    """
    seen, types = _first_rows(source, split, encoding)
    types.see(seen)
    names = with_texts(types.schema())
    first = likeliest(names, seen)
    if first is None:
        has = ", ".join(types.names()) or "no columns"
        raise DatasetError(f"{source} has no column of texts; there are {has}")
    return [first, *(name for name in names if name != first)]


def _first_rows(
    source: str | Path, split: str, encoding: str | None
) -> tuple[list[dict[str, Any]], Types]:
    """The first rows that can be read, and what takes note of their types."""
    from sentune.data.read import is_saved, whole  # here, as a corpus needs none of it

    found = None if is_saved(source) else files_of([source], split, None)
    if found is None:
        data = whole(source, split)
        return data.select(range(min(SEEN, len(data)))).to_list(), Types()
    file = found.files[0]
    if is_text(file):
        asked = None if encoding is None else encodings.checked(encoding)
        file, _ = with_encoding(file, [], "", asked)
    first = list(islice(rows(file, how=How(is_table=True)), SEEN))
    seen = [row.values for row in first if row.values is not None]
    if not seen:
        why = f" that can be read; the first one: {first[0].problem}" if first else ""
        raise DatasetError(f"{file.name} has no rows{why}")
    return seen, Types(is_text=FORMATS[file.ending] == "csv")


def _is_wordy(cell: Any) -> bool:
    is_filled = isinstance(cell, str) and bool(cell)
    return is_filled and (len(cell.split()) > 1 or ord(max(cell)) >= _WITHOUT_SPACES)
