"""Rows to one file, in the format that its name ends with."""

from __future__ import annotations

from collections.abc import Iterable
from glob import glob
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


def check(path: str | Path, *, has_lists: bool = False, sources: Iterable[str | Path] = ()) -> Path:
    """The path of a file that rows can be written to, checked before the work that gives them.

    Args:
        path: A name that ends in .csv, .tsv, .jsonl, .json or .parquet, in a folder that is there.
        has_lists: Whether cells are to hold lists.
        sources: What the rows come from, which is not to be replaced: files, folders, patterns.

    Raises:
        SettingError: If the ending is another, the format has no lists, or it is a source.
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
    check_no_source(found, sources)
    if not found.parent.is_dir():
        raise MissingFolderError(
            f"the folder {found.parent} does not exist; create it, or choose another path"
        )
    return found


def check_no_source(path: str | Path, sources: Iterable[str | Path]) -> None:
    """Raise a `SettingError` if a file to write is one that is read, or is in a folder that is."""
    target = Path(path).expanduser().resolve()
    for source in map(str, sources):
        place = Path(source).expanduser()
        if place.is_dir() and place.resolve() in target.parents:
            raise SettingError(
                f"{path} would be in the folder {source}, all of which is read; name a file "
                "elsewhere"
            )
        if any(
            target == one.resolve() for one in (place, *map(Path, glob(str(place), recursive=True)))
        ):
            raise SettingError(f"{path} is what the rows are read from; name another file")


def write(dataset: Any, path: str | Path) -> Path:
    """Write the rows of a `datasets.Dataset` into a file, atomically; arguments as for `check`.

    Raises:
        OutputError: If it cannot be written.
    """
    plain = dataset.with_format(None)
    if Path(path).suffix.lower() != ".parquet":
        plain = _with_words(plain)
    has_lists = any(hasattr(feature, "feature") for feature in plain.features.values())
    found = check(path, has_lists=has_lists)
    method, options, _ = _FORMATS[found.suffix.lower()]
    if method == "to_json":  # an array is written in one piece
        options = {"batch_size": max(1, len(plain)) if "lines" in options else None, **options}
    try:
        with files.opened(found, through_links=True) as file:
            getattr(plain, method)(file, **options)
    except OSError as error:
        raise OutputError(f"{found} cannot be written: {error.strerror or error}") from error
    return found


def _with_words(dataset: Any) -> Any:
    """The rows with the names of classes in place of numbers, which say nothing in a text file."""
    for name, feature in dataset.features.items():
        names = getattr(feature, "names", None)
        if names is not None:
            cells = [_word(value, names) for value in dataset[name]]
            order = dataset.column_names
            dataset = dataset.remove_columns([name]).add_column(name, cells).select_columns(order)
    return dataset


def _word(value: int | None, names: list[str]) -> str | None:
    """The name of a class; -1, as some datasets have it for none, stays as it is."""
    return None if value is None else names[value] if 0 <= value < len(names) else str(value)
