"""Whatever somebody gives as data -> the rows, as a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.data.choice import Wish
from sentune.data.columns import portions
from sentune.data.read import chosen, part_of, read
from sentune.errors import InputTypeError, SettingError

_NAME = "the data"


def rows_of(
    data: Any,
    split: str = "train",
    *,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    label: str | None = None,
    skip_bad_rows: bool | str | Path | None = None,
    **options: Any,
) -> Any:
    """The rows, read from where they are, or taken from memory by the same rules.

    Args:
        data: What `read` takes; or a `datasets.Dataset`, `DatasetDict` or `IterableDataset`, a
            table, a dict of lists, a list of dicts or of `InputExample`s.
        split: As for `read`.
        columns: Likewise.
        label: Likewise; labels that are words become classes.
        skip_bad_rows: Likewise.
        **options: Of files, as for `read`.

    Raises:
        DatasetError: As for `read`.
        InputTypeError: If it is none of these.
        SettingError: If rows that are in memory come with an option of files.
    """
    wishes: dict[str, Any] = {"columns": columns, "label": label, "skip_bad_rows": skip_bad_rows}
    if is_place(data) or (isinstance(data, (list, tuple)) and data and all(map(is_place, data))):
        return read(data, split, **wishes, **options)
    if options:
        raise SettingError(
            f"{', '.join(options)} says how files are read, and the data is in memory "
            f"({type(data).__name__}); leave it out"
        )
    datasets = need("datasets", extra="train")
    found = part_of(datasets, data if _has_parts(datasets, data) else _whole(data), split, _NAME)
    return chosen(datasets, found, _NAME, Wish.of(columns, label), skip_bad_rows or False)


def is_place(data: Any) -> bool:
    """Whether this is the name of a file, a folder or a dataset on the Hub."""
    return isinstance(data, (str, Path))


def _has_parts(datasets: Any, data: Any) -> bool:
    kinds = (datasets.Dataset, datasets.IterableDataset)
    is_dict = isinstance(data, Mapping) and bool(data)
    return is_dict and all(isinstance(part, kinds) for part in data.values())


def _whole(data: Any) -> Any:
    """Rows in memory as a dataset."""
    datasets = need("datasets", extra="train")
    if isinstance(data, datasets.Dataset):
        return data.with_format(None)
    is_columns = isinstance(data, Mapping)
    columns: dict[str, list[Any]] = {name: [] for name in data} if is_columns else {}
    try:
        for portion in portions(data):
            for name, cells in portion.items():
                columns.setdefault(name, []).extend(cells)
    except InputTypeError as error:
        raise InputTypeError(
            "data must be a file, a list of files, a datasets.Dataset or DatasetDict, a table, a "
            f"dict of lists or a list of dicts, got {type(data).__name__}"
        ) from error
    return datasets.Dataset.from_dict(columns)
