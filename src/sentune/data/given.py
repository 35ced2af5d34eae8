"""Whatever somebody gives as data -> the rows, as a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from sentune._lazy import need
from sentune.data.choice import MissingColumnError, Wish
from sentune.data.columns import portions
from sentune.data.kept import is_read
from sentune.data.read import chosen, part_of, read
from sentune.data.sources import STANDARD, OtherColumnsError
from sentune.errors import InputTypeError, SentuneWarning, SettingError
from sentune.tables import column_names

_NAME = "the data"
_LOOKED_AT = 1000  # cells that show that a column holds texts


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
    is_chosen = columns is None and label is None and is_read(found)
    wish = Wish.of(columns, label)._replace(is_whole=is_chosen)
    return chosen(datasets, found, _NAME, wish, skip_bad_rows or False)


def several_of(data: Any, split: str = "train", **options: Any) -> list[Any]:
    """The rows in one dataset for each set of columns that the data have; mostly there is one.

    Args:
        data: As for `rows_of`; or a list of datasets, tables or dicts of lists.
        split: As for `rows_of`.
        **options: Likewise.

    Raises:
        DatasetError: As for `rows_of`.
    """
    if isinstance(data, (list, tuple)) and data and all(map(_is_table, data)):
        return _joined([rows_of(one, split, **options) for one in data])
    try:
        return [rows_of(data, split, **options)]
    except OtherColumnsError:
        names = _names_of(data)
        if len(names) < 2 or STANDARD in names:
            raise
    seen = _labels_and_columns(names, split, options)
    alike: dict[tuple[str | None, ...], list[str]] = {}
    for name in names:
        alike.setdefault(seen[name], []).append(name)
    return [
        rows_of(group, split, **{**options, "label": label, **_bad_rows_of(number, options)})
        for number, ((label, *_), group) in enumerate(alike.items())
    ]


def _labels_and_columns(
    names: Sequence[str], split: str, options: Mapping[str, Any]
) -> dict[str, tuple[str | None, ...]]:
    """Of each file the column that was named as the label, None where there is none, and all."""
    label = options.get("label")
    found: dict[str, tuple[str | None, ...]] = {}
    missing: dict[str, MissingColumnError] = {}
    for name in names:
        try:
            found[name] = (label, *_columns(name, split, options))
        except MissingColumnError as error:
            missing[name] = error
    if missing and (label is None or not found):
        raise next(iter(missing.values()))
    for name in missing:
        found[name] = (None, *_columns(name, split, {**options, "label": None}))
    return found


def _columns(name: str, split: str, options: Mapping[str, Any]) -> list[str]:
    """The columns of a file; what is to be said of it is said when it is read for good."""
    alone = {**options, "skip_bad_rows": bool(options.get("skip_bad_rows")) or None}
    with catch_warnings():
        simplefilter("ignore", SentuneWarning)
        return list(rows_of(name, split, **alone).column_names)


def _joined(several: Sequence[Any]) -> list[Any]:
    """Datasets of which those with the same columns of the same kinds have become one."""
    alike: dict[str, list[Any]] = {}
    for one in several:
        alike.setdefault(str(one.features), []).append(one)
    return [need("datasets", extra="train").concatenate_datasets(own) for own in alike.values()]


def _names_of(data: Any) -> list[str]:
    """The names of single files, those that match a pattern too."""
    names = [data] if is_place(data) else list(data)
    found = [sorted(glob(str(Path(name).expanduser()), recursive=True)) for name in names]
    return [one for name, matching in zip(names, found, strict=True) for one in matching or [name]]


def _bad_rows_of(number: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Where the bad rows of one of several datasets go: bad.jsonl, bad-2.jsonl ..."""
    target = options.get("skip_bad_rows")
    if not number or target is None or isinstance(target, bool):
        return {}
    path = Path(target)
    return {"skip_bad_rows": path.with_name(f"{path.stem}-{number + 1}{path.suffix}")}


def is_place(data: Any) -> bool:
    """Whether this is the name of a file, a folder or a dataset on the Hub."""
    return isinstance(data, (str, Path))


def _is_table(data: Any) -> bool:
    """Whether this is a dataset of its own, and not a row."""
    if isinstance(data, Mapping):
        return bool(data) and all(isinstance(cells, list) for cells in data.values())
    return bool(column_names(data))


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
    return datasets.Dataset.from_dict(
        {name: _without_nan(cells) for name, cells in columns.items()}
    )


def _without_nan(cells: list[Any]) -> list[Any]:
    """Texts of which those that pandas has as NaN are missing."""
    if not any(isinstance(cell, str) for cell in cells[:_LOOKED_AT]):
        return cells
    return [None if isinstance(cell, float) and cell != cell else cell for cell in cells]
