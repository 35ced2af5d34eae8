"""Files and datasets of the Hub -> a `datasets.Dataset`."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.data import raw
from sentune.data.columns import input_columns
from sentune.errors import DatasetError, HubError, HubNotFoundError, MissingDatasetError

# Ending of a file name -> its reader in `datasets`, and that reader's options.
# An empty cell of a table is missing; the words NA, null or None in it are text.
_TABLE = {"keep_default_na": False, "na_values": [""]}
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("csv", {**_TABLE, "sep": ","}),
    ".tsv": ("csv", {**_TABLE, "sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".parquet": ("parquet", {}),
    ".arrow": ("arrow", {}),
    ".txt": ("text", {}),
}

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def read(
    source: str | Path | Sequence[str | Path],
    split: str = "train",
    *,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    label: str | None = None,
    skip_bad_rows: bool | str | Path | None = None,
    **options: Any,
) -> Any:
    """The rows of files, of a folder or of a dataset on the Hub, as a `datasets.Dataset`.

    Args:
        source: A file (csv, tsv, json, jsonl, parquet, arrow, txt with a text per line; also
            compressed), a folder that `Dataset.save_to_disk` wrote, or an id on the Hub.
        split: Which part, where there are several: "train", "test[:1000]" ...
        columns: Which columns to take, in this order: their names, or a dict of new name -> name in
            the file. None for all.
        label: Column with the labels; it becomes "label", or "score" if it has floats.
        skip_bad_rows: Leave out rows that cannot be read, and write them to this file (JSON lines).
        **options: For the reader of the `datasets` library: `column_names` of a csv file without a
            head, `field` of a json file, `name` or `revision` of a dataset on the Hub.

    Raises:
        DatasetError: If there is no such file, its ending is unknown, it cannot be parsed, it has
            no rows, or there is no such split.
        HubError: If the Hub does not have it or cannot be reached.
    """
    several = [source] if isinstance(source, (str, Path)) else list(source)
    parts = [_read_one(one, split, options) for one in several]
    found = parts[0]
    if len(parts) > 1:
        found = need("datasets", extra="train").concatenate_datasets(parts)
    return _chosen(found, columns, label) if columns or label else found


class Places:
    """Where the rows of a dataset come from; made by `places`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def of(self, row: int) -> str:
        """The place of a row, from 0, in words: `file.csv, line 12`."""
        return f"{self._name}, row {row}"


def places(dataset: Any) -> Places:
    """Where the rows of a dataset that `read` gave come from."""
    return Places("data")


def _chosen(found: Any, columns: Any, label: str | None) -> Any:
    names = columns if isinstance(columns, Mapping) else {name: name for name in columns or ()}
    names = dict(names) or {name: name for name in found.column_names}
    if label is not None:
        kind = "score" if "float" in found.features[label].dtype else "label"
        names = {new: old for new, old in names.items() if old != label} | {kind: label}
    return found.select_columns(list(names.values())).rename_columns(
        {old: new for new, old in names.items()}
    )


def _read_one(source: str | Path, split: str, options: dict[str, Any]) -> Any:
    datasets = need("datasets", extra="train")
    if source == "-":
        texts = [line.rstrip("\r\n") for line in sys.stdin]
        if not texts:
            raise DatasetError("standard input is empty; give it a text per line")
        return datasets.Dataset.from_dict({"text": texts})
    path = Path(source).expanduser()
    if path.is_dir() and not any((path / name).is_file() for name in _SAVED):
        raise DatasetError(
            f"{path} is a folder that Dataset.save_to_disk did not write; name a file in it"
        )
    if path.is_dir():
        found = _part(_opened(lambda: datasets.load_from_disk(str(path)), path), split, path)
    elif path.is_file():
        found = _of_file(datasets, path, split, options)
    else:
        found = _of_hub(datasets, str(source), split, options)
    if not len(found):
        raise DatasetError(f"{source} has no rows")
    return found


def column(dataset: Any, name: str | None = None) -> list[str]:
    """The texts of one column of a dataset; None for the first that holds no labels."""
    names = list(dataset.column_names)
    chosen = name if name is not None else next(iter(input_columns(names)), None)
    if chosen not in names:
        raise DatasetError(f"there is no column {chosen!r}; there are {', '.join(names)}")
    texts = list(dataset[chosen])
    wrong = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise DatasetError(f"row {wrong} of column {chosen!r} is no text but {texts[wrong]!r}")
    return texts


# How the datasets library says that there are no rows.
_NO_ROWS = ("corresponds to no data", "at least one example when writing data")
_SAVED = ("state.json", "dataset_dict.json")  # files in a folder of save_to_disk


def _of_file(datasets: Any, path: Path, split: str, options: dict[str, Any]) -> Any:
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in raw.COMPRESSIONS:
        endings.pop()
    if not endings or endings[-1] not in FORMATS:
        raise DatasetError(
            f"{path.name} has none of the known endings {', '.join(FORMATS)}; rename it, or read "
            "it with the datasets library and pass the dataset"
        )
    raw.check(path)
    reader, usual = FORMATS[endings[-1]]
    if reader == "csv" and not options.keys() & {"sep", "delimiter", "column_names"}:
        usual = {**usual, "sep": raw.separator(path, usual["sep"])}
    if "delimiter" in options:
        usual = {name: value for name, value in usual.items() if name != "sep"}
    part = split.split("[")[0]  # a file has one part; "train[:100]" takes rows of it
    # The library reads a name as a pattern, and one with a colon as an address.
    files, options = {part: glob.escape(str(path.absolute()))}, {**usual, **options}
    found = _opened(
        lambda: datasets.load_dataset(reader, data_files=files, split=split, **options), path
    )
    return _without_index(found, path, reader)


def _without_index(found: Any, path: Path, reader: str) -> Any:
    """The rows without the index that pandas writes beside the columns."""
    index = [name for name in found.column_names if name.startswith("__index_level_")]
    if index and reader == "csv":
        raise DatasetError(f"{path} cannot be read: its rows have more cells than its head")
    first = found.column_names[0]  # in a csv file the index has no name
    if reader == "csv" and first == "Unnamed: 0" and "int" in found.features[first].dtype:
        index = [first]
    return found.remove_columns(index)


def _of_hub(datasets: Any, source: str, split: str, options: dict[str, Any]) -> Any:
    is_file = Path(source).suffix.lower() in FORMATS
    if is_file or not _HUB_ID.fullmatch(source):
        raise MissingDatasetError(
            f"there is no file {source}, and it is no id of a dataset on the Hub"
        )
    try:
        return datasets.load_dataset(source, split=split, **options)
    except (ValueError, RuntimeError) as error:  # an unknown split, a script in place of data
        raise DatasetError(f"{source!r} on the Hub cannot be read: {_first_line(error)}") from error
    except OSError as error:
        kind = HubNotFoundError if isinstance(error, FileNotFoundError) else HubError
        raise kind(
            f"{source!r} is no file here and could not be had from the Hub: {_first_line(error)}; "
            "check the spelling and the network, and log in with `hf auth login` if it is private"
        ) from error


def _opened(load: Any, path: Path) -> Any:
    try:
        return load()
    except Exception as error:  # each reader has errors of its own
        reason = error.__cause__ or error
        if any(words in str(reason) for words in _NO_ROWS):
            raise DatasetError(f"{path} has no rows") from error
        for file in path.glob("*.arrow"):
            raw.check(file)
        raise DatasetError(f"{path} cannot be read: {_first_line(reason)}") from error


def _part(found: Any, split: str, path: Path) -> Any:
    if not isinstance(found, dict):
        return found
    if split not in found:
        raise DatasetError(f"{path} has the parts {', '.join(found)}, not {split!r}")
    return found[split]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
