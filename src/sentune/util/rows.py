"""Rows of csv files and of datasets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentune.disk import files


def append_to_last_row(csv_path: str | Path, additional_data: Sequence[Any]) -> bool:
    """Add values to the last row of a csv file; False if it has a header alone."""
    with open(csv_path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if len(rows) < 2:
        return False
    rows[-1].extend(additional_data)
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    files.write(Path(csv_path), text.getvalue().encode("utf-8"))
    return True


@contextmanager
def disable_datasets_caching() -> Iterator[None]:
    """While it lasts, the datasets library keeps no results of its own on disk."""
    import datasets

    was_on = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield
    finally:
        if was_on:
            datasets.enable_caching()
