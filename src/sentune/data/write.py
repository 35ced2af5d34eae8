"""Rows to one file, in the format that its name ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentune.disk import files
from sentune.errors import MissingFolderError, OutputError, SettingError

# Ending -> the method of a dataset, its options, whether cells may hold lists.
_FORMATS: dict[str, tuple[str, dict[str, Any], bool]] = {
    ".csv": ("to_csv", {}, False),
    ".tsv": ("to_csv", {"sep": "\t"}, False),
    ".jsonl": ("to_json", {"force_ascii": False}, True),
    ".json": ("to_json", {"force_ascii": False, "lines": False, "orient": "records"}, True),
    ".parquet": ("to_parquet", {}, True),
}


def check(path: str | Path, *, has_lists: bool = False) -> Path:
    """The path of a file that rows can be written to, checked before the work that gives them.

    Args:
        path: A name that ends in .csv, .tsv, .jsonl, .json or .parquet, in a folder that is there.
        has_lists: Whether cells are to hold lists.

    Raises:
        SettingError: If the ending is another, or the format has no lists.
        MissingFolderError: If the folder is not there.
    """
    found = Path(path).expanduser()
    row = _FORMATS.get(found.suffix.lower())
    if row is None:
        raise SettingError(f"the name of the file must end in {', '.join(_FORMATS)}; got {found}")
    if has_lists and not row[2]:
        raise SettingError(
            f"{found.suffix} files hold no lists; name one that ends in .jsonl or .parquet"
        )
    if found.is_dir():
        raise SettingError(f"{found} is a folder; name a file in it")
    if not found.parent.is_dir():
        raise MissingFolderError(
            f"the folder {found.parent} does not exist; create it, or choose another path"
        )
    return found


def write(dataset: Any, path: str | Path) -> Path:
    """Write the rows of a `datasets.Dataset` into a file, atomically; arguments as for `check`.

    Raises:
        OutputError: If it cannot be written.
    """
    plain = dataset.with_format(None)
    has_lists = any(hasattr(feature, "feature") for feature in plain.features.values())
    found = check(path, has_lists=has_lists)
    method, options, _ = _FORMATS[found.suffix.lower()]
    try:
        with files.opened(found, through_links=True) as file:
            getattr(plain, method)(file, **options)
    except OSError as error:
        raise OutputError(f"{found} cannot be written: {error.strerror or error}") from error
    return found
