"""Files and datasets of the Hub -> a `datasets.Dataset`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from sentune._lazy import need
from sentune.checks import nearest
from sentune.data import kept, raw
from sentune.data.choice import Wish, choose
from sentune.data.columns import input_columns
from sentune.data.fill import Wishes, fill
from sentune.data.kept import Places as Places
from sentune.data.kept import places as places
from sentune.data.lines import How
from sentune.data.raw import FORMATS
from sentune.data.sources import MissingPartError, Source, files_of, near_file
from sentune.data.spool import BadRows, Part, Spool
from sentune.errors import (
    DatasetError,
    HubError,
    HubNotFoundError,
    MissingDatasetError,
    SettingError,
    warn,
)

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_OPTIONS = ("column_names", "delimiter", "sep", "field", "encoding", "format")  # of files


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

    The dataset is mapped into memory: its size does not matter. Encoding, separator and types are
    detected. A label that is written in words becomes a class, whose words are kept
    (`datasets.ClassLabel`). A warning says what was left out, and what was detected and may be
    wrong.

    Args:
        source: A file (csv, tsv, json, jsonl, parquet, arrow, txt with a text per line; also
            compressed), or several; a pattern such as `data/*.csv`; a folder with files of one
            kind, or that `Dataset.save_to_disk` wrote; an address such as `s3://bucket/folder`; an
            id on the Hub; or `-` for standard input, whose kind is detected.
        split: Which part, where there are several: "train", "test[:1000]" ...
        columns: Which columns to take, in this order: a dict of new name -> name in the data, or a
            list of names. None for all but those with ids, those that are empty, and second labels.
        label: Column with the labels; it becomes "label", or "score" if it has floats. None for the
            column of such a name, else of a usual one, as similarity or category.
        skip_bad_rows: Leave out rows that cannot be read or have no text or label, and write them,
            with file, line and reason, to this file (JSON lines), or with True to one in the cache.
            None: a row that cannot be read is an error.
        **options: Of files: `format`, what they are (csv, tsv, json, jsonl, parquet, arrow, txt);
            `encoding`; `column_names` of a csv file without a head; `delimiter` of its cells;
            `field` of a json file that has the rows. Of the Hub: as for `datasets.load_dataset`.

    Raises:
        DatasetError: If there is no such file, column or split, its ending is unknown, a row cannot
            be read, files have other columns than others, or there are no rows.
        HubError: If the Hub does not have it or cannot be reached.
        OutputError: If the file for bad rows has something else in it.
    """
    wish = Wish.of(columns, label)
    if skip_bad_rows is not None and not isinstance(skip_bad_rows, bool):
        kept.check_target(skip_bad_rows)
    names = [source] if isinstance(source, (str, Path)) else list(source)
    if not names:
        raise DatasetError("there is no file to read; name one")
    found = _of_names(names, split, wish, skip_bad_rows or False, options)
    if not len(found):
        raise DatasetError(f"{', '.join(map(str, names))} has no rows")
    return found


def whole(source: str | Path, split: str = "train", **options: Any) -> Any:
    """As `read`, with all columns as they are in the data, those with ids too."""
    found = _of_names([source], split, Wish(None, None, is_whole=True), False, options)
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


def _of_names(
    names: Sequence[str | Path],
    split: str,
    wish: Wish,
    skip: bool | str | Path,
    options: dict[str, Any],
) -> Any:
    datasets = need("datasets", extra="train")
    path = Path(names[0]).expanduser()
    if len(names) == 1 and is_saved(path):
        found = _opened(lambda: datasets.load_from_disk(str(path)), path)
        return chosen(datasets, part_of(datasets, found, split, str(path)), path.name, wish, skip)
    source = files_of(names, split, options.get("format"))
    if source is None:
        found = _of_hub(datasets, str(names[0]), split, options)
        return chosen(datasets, found, str(names[0]), wish, skip)
    folder = _of_files(source, wish, skip, options)
    return _rows_of(datasets, kept.opened(folder), split, str(names[0]))


# Files --------------------------------------------------------------------------------------------


def _of_files(source: Source, wish: Wish, skip: bool | str | Path, options: dict[str, Any]) -> Path:
    """The folder with the rows of files, from when they were read before or made now."""
    try:
        wishes = _wishes(wish, options)
        # Standard input is not read again, but the bad rows of it stay where they are said to be.
        is_for_now = bool(source.temporary) and skip is not True
        own = uuid4().hex if is_for_now else ""
        key = kept.key_of(source.files, (wish, bool(skip), wishes, source.notes, own))
        folder = kept.folder_of(key)
        if not kept.is_there(folder):
            with kept.making(key) as draft:
                _make(draft, source, wish, wishes, bool(skip))
        if is_for_now:
            kept.only_for_now(folder)
    finally:
        for path in source.temporary:
            path.unlink(missing_ok=True)
    _tell(folder, skip)
    return folder


def _tell(folder: Path, skip: bool | str | Path) -> None:
    """Warn of what should be known, and put bad rows where they are wanted."""
    for note in Places.of_folder(folder).notes:
        warn(note)
    if skip and (about_bad := kept.hand_out_bad_rows(folder, skip)):
        warn(about_bad)


def _wishes(wish: Wish, options: dict[str, Any]) -> Wishes:
    if unknown := [name for name in options if name not in _OPTIONS]:
        raise SettingError(
            f"files are not read with {unknown[0]}; there are {', '.join(_OPTIONS)}"
            f"{nearest(unknown[0], _OPTIONS)}"
        )
    names = options.get("column_names")
    separator = options.get("delimiter", options.get("sep"))
    how = How(tuple(names) if names else None, separator, options.get("field"), is_table=True)
    return Wishes(how, options.get("encoding"), wish.names())


def _make(draft: Path, source: Source, wish: Wish, wishes: Wishes, is_skipping: bool) -> None:
    """Read files into a folder."""
    bad = BadRows(draft, is_skipping=is_skipping)
    work = draft / "work"
    work.mkdir()
    spool = Spool(work)
    try:
        notes = [*source.notes, *fill(spool, source.files, wishes, bad)]
        if not sum(part.rows for part in spool.parts):
            names = ", ".join(file.name for file in source.files)
            also = f"; the first that was left out: {bad.first}" if bad.count else ""
            raise DatasetError(f"{names} has no rows{also}")
        is_text = any(FORMATS[file.ending] == "csv" for file in source.files)
        _write(draft, spool, wish, bad, notes, is_text=is_text)
    finally:
        bad.close()
        spool.remove()
        work.rmdir()


def _write(
    draft: Path, spool: Spool, wish: Wish, bad: BadRows, notes: list[str], *, is_text: bool
) -> None:
    """Write what is wanted of a spool, whose files are not in use any more afterwards."""
    make = need("datasets", extra="train").ClassLabel
    classes = {name: make(names=words) for name, words in spool.classes.items()}
    table = spool.table()
    choice = choose(table, wish, is_text=is_text, features=classes)
    choice.notes[:0] = notes
    kept.write(draft, table, choice, spool.numbers(), spool.parts, bad)


def _rows_of(datasets: Any, found: Any, split: str, name: str) -> Any:
    """The rows of a split such as `train[:100]`, where there is one part, of any name."""
    part = split.split("[")[0]
    if part == split:
        return found
    try:
        wanted = datasets.ReadInstruction.from_spec(split).to_absolute({part: len(found)})
        rows = np.concatenate([np.arange(len(found))[one.from_ : one.to] for one in wanted])
    except (AssertionError, ValueError) as error:
        raise DatasetError(f"{name} has no part {split!r}: {_first_line(error)}") from error
    return found.select(rows)


# Datasets -----------------------------------------------------------------------------------------

# How the datasets library says that there are no rows.
_NO_ROWS = ("corresponds to no data", "at least one example when writing data")
_SAVED = ("state.json", "dataset_dict.json")  # files in a folder of save_to_disk


def is_saved(source: str | Path) -> bool:
    """Whether this is a folder that `save_to_disk` wrote."""
    return any((Path(source).expanduser() / name).is_file() for name in _SAVED)


def chosen(datasets: Any, found: Any, name: str, wish: Wish, skip: bool | str | Path) -> Any:
    """The columns of a dataset that are wanted."""
    if wish.is_whole:
        return found
    if not isinstance(found, datasets.Dataset):
        raise DatasetError(f"{name} is a stream or several parts; name a split of it")
    if not len(found):
        return found
    table = found.with_format("arrow")[:]
    choice = choose(table, wish, is_text=False, features=found.features)
    pairs = {column.source: column.name for column in choice.columns}
    if not skip and choice.is_plain:
        for note in choice.notes:
            warn(note)
        kinds = found.select_columns(list(pairs))
        names = {old: new for old, new in pairs.items() if old != new}
        return kinds.rename_columns(names) if names else kinds
    key = kept.key_of([], (found._fingerprint, wish, bool(skip)))
    folder = kept.folder_of(key)
    if not kept.is_there(folder):
        with kept.making(key) as draft:
            bad = BadRows(draft, is_skipping=bool(skip))
            parts, numbers = [Part(name, "row", len(found))], np.arange(len(found))
            try:
                kept.write(draft, table, choice, numbers, parts, bad)
            finally:
                bad.close()
    _tell(folder, skip)
    return kept.opened(folder)


def _of_hub(datasets: Any, source: str, split: str, options: dict[str, Any]) -> Any:
    is_file = Path(source).suffix.lower() in FORMATS
    if is_file or not _HUB_ID.fullmatch(source):
        raise MissingDatasetError(
            f"there is no file {source}, and it is no id of a dataset on the Hub{near_file(source)}"
        )
    try:
        return datasets.load_dataset(source, split=split, **options)
    except (ValueError, RuntimeError) as error:  # an unknown split, a script in place of data
        kind: type[DatasetError] = MissingPartError if "split" in str(error) else DatasetError
        raise kind(f"{source!r} on the Hub cannot be read: {_first_line(error)}") from error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise (HubNotFoundError if missing else HubError)(
            f"{source!r} is no file here and could not be had from the Hub: {_first_line(error)}; "
            "check the spelling and the network, and log in with `hf auth login` if it is private"
        ) from error


def _opened(load: Callable[[], Any], path: Path) -> Any:
    try:
        return load()
    except Exception as error:  # each reader has errors of its own
        reason = error.__cause__ or error
        if any(words in str(reason) for words in _NO_ROWS):
            raise DatasetError(f"{path} has no rows") from error
        for file in path.rglob("*.arrow"):
            raw.check(file)
        raise DatasetError(f"{path} cannot be read: {_first_line(reason)}") from error


def part_of(datasets: Any, found: Any, split: str, name: str) -> Any:
    """The rows of a split of a dataset, or of what has several."""
    if not isinstance(found, dict):
        return _rows_of(datasets, found, split, name)
    part = split.split("[")[0]
    if part not in found:
        raise MissingPartError(f"{name} has the parts {', '.join(found)}, not {split!r}")
    return _rows_of(datasets, found[part], split, name)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
