"""Rows of datasets on their way to the collator: each knows its dataset and its number there."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import torch
from torch.utils.data import Dataset, IterableDataset

from sentune import tables
from sentune._lazy import need
from sentune.data.columns import LABEL_COLUMNS as LABEL_COLUMNS
from sentune.data.columns import Cells, is_hub_dataset
from sentune.data.example import cells_of, is_example
from sentune.data.problems import in_cells, in_label_cells
from sentune.data.profile import profile
from sentune.errors import DatasetError
from sentune.machine.randomness import seeded

Row: TypeAlias = "dict[str, Any]"

# Keys that a row carries besides its cells.
DATASET_NAME = "dataset_name"
ROW_NUMBER = "__row__"
# Formats of datasets whose rows are tables.
_TABLES = ("arrow", "pandas", "polars")
# What is made for `fit`: what to give a trainer in its place.
_INSTEAD_OF = {
    "SentenceLabelDataset": "give the trainer the list of examples, and its arguments "
    "batch_sampler='group_by_label'",
    "DenoisingAutoEncoderDataset": "give the trainer a datasets.Dataset with the sentences in "
    "'text', and draw the noise as rows are read: dataset.set_transform(lambda rows: {'noise': "
    "[DenoisingAutoEncoderDataset.delete(text) for text in rows['text']], **rows})",
    "ParallelSentencesDataset": "give the trainer a datasets.Dataset with the translations in "
    "'text' and teacher_model.encode(originals) in 'label', for MSELoss",
    "NoDuplicatesDataLoader": "give the trainer the list of examples, and its arguments "
    "batch_sampler='no_duplicates'",
    "SentencesDataset": "give the trainer the list of examples",
    "DataLoader": "give the trainer the list of examples; batch size, order and workers are "
    "training arguments",
}
_RESERVED = {DATASET_NAME, ROW_NUMBER, "return_loss"}


class NumberedRows(Dataset):
    """The rows of one or several datasets, one after the other; a single one has the name None.

    A dataset may draw at random when it is read, as to leave out words. With a seed, what it draws
    depends on epoch and batch only, so that a run which was stopped reads the same.
    """

    def __init__(self, datasets: Mapping[str | None, Any], seed: int | None = None) -> None:
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()  # with workers that stay
        self.names = list(datasets)
        self.datasets = list(datasets.values())
        self.ends = list(accumulate(map(len, self.datasets)))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        """Several rows at once, as a `DataLoader` asks for them."""
        if self.seed is None:
            return self._read(indices)
        mixed = random.Random(f"{self.seed} {int(self._epoch)} {indices[0]}").getrandbits(31)
        with seeded(mixed):
            return self._read(indices)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is read next."""
        self._epoch.fill_(epoch)

    def _read(self, indices: Sequence[int]) -> list[Row]:
        places = [bisect_right(self.ends, index) for index in indices]
        if len(set(places)) > 1:  # rows of several datasets in a batch
            return [row for index in indices for row in self._read([index])]
        place = places[0]
        start = self.ends[place] - len(self.datasets[place])
        numbers = [index - start for index in indices]
        cells = rows_of(self.datasets[place], numbers)
        return [
            numbered(row, number, self.names[place])
            for row, number in zip(cells, numbers, strict=True)
        ]


class StreamedRows(IterableDataset):
    """The rows of a dataset that is only read from front to back."""

    def __init__(self, dataset: Any, name: str | None = None) -> None:
        self.dataset = dataset
        self.name = name

    def __iter__(self) -> Iterator[Row]:
        for number, row in enumerate(self.dataset):
            yield numbered(row, number, self.name)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is read next, to a dataset that wants to know."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


def named_rows(name: str, dataset: Any) -> NumberedRows | StreamedRows:
    """The rows of one of several datasets."""
    if hasattr(dataset, "__len__"):
        return NumberedRows({name: dataset})
    return StreamedRows(dataset, name)


def numbered(row: Mapping[str, Any], number: int, name: str | None = None) -> Row:
    """The row with its number and the name of its dataset."""
    marks: Row = {ROW_NUMBER: number}
    if name is not None:
        marks[DATASET_NAME] = name
    return {**marks, **row}  # with the name that a dataset may give its rows itself


def as_dataset(given: Any, what: str) -> Any:
    """A dataset, or a dict of them, in the form that the trainer reads."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        if not given:
            raise DatasetError(f"{what} is an empty dict; give it a dataset per name")
        found = {str(name): as_dataset(one, f"{what}[{name!r}]") for name, one in given.items()}
        streams = [name for name, one in found.items() if not hasattr(one, "__len__")]
        if streams and what == "train_dataset":  # others are read one after the other
            raise DatasetError(
                f"{what} is a dict and {streams} can only be read from front to back; "
                "use datasets with a length, or join the streams with interleave_datasets"
            )
        return found
    if isinstance(given, (list, tuple)):
        return _dataset_of_list(given, what)
    if hasattr(given, "column_names"):
        if given.column_names is None:
            raise DatasetError(
                f"{what} does not say which columns it has; give it features, as in "
                "dataset.cast(Features({'anchor': Value('string'), ...}))"
            )
        check_names(given.column_names, what)
        return _as_python(given)
    if tables.column_names(given) is not None:
        raise DatasetError(
            f"{what} is a table of {type(given).__module__.partition('.')[0]}; a dataset of it is "
            "datasets.Dataset.from_pandas(table, preserve_index=False), or from_polars(table)"
        )
    row = _first_row(given)
    if isinstance(row, Mapping):
        check_names(column_names(given), what)
        return given
    raise DatasetError(f"{what} {_not_read(given, row)}")


def _first_row(given: Any) -> Any:
    """The first row of a dataset; None if there is none, or it cannot be asked for."""
    if not hasattr(given, "__getitem__") or not hasattr(given, "__len__") or not len(given):
        return None
    try:
        with seeded(0):  # datasets may draw numbers when a row is read
            return given[0]
    except (NotImplementedError, KeyError):  # only read from front to back
        return None


def _not_read(given: Any, row: Any) -> str:
    """Why a trainer cannot read a dataset, and what to do."""
    names = [kind.__name__ for kind in type(given).__mro__]
    cure = next((_INSTEAD_OF[name] for name in names if name in _INSTEAD_OF), None)
    if cure is None and is_example(row):
        cure = "give the trainer a list of the examples"
    if cure is not None:
        return f"is a {names[0]}, which is made for model.fit; {cure}"
    return (
        "must be a datasets.Dataset, an IterableDataset, a dict of datasets, or a list of dicts or "
        f"InputExamples; got {names[0]}"
    )


def _as_python(dataset: Any) -> Any:
    """The dataset with rows of plain values, where its format gives whole tables.

    Columns that the format leaves out are not there at all.
    """
    form = getattr(dataset, "format", None)
    if not isinstance(form, Mapping):
        kind = getattr(getattr(dataset, "_formatting", None), "format_type", None)
        return dataset.with_format(None) if kind in _TABLES else dataset
    if form["type"] != "custom" and not form["output_all_columns"]:
        shown = [name for name in dataset.column_names if name in form["columns"]]
        if shown != dataset.column_names:
            dataset = dataset.select_columns(shown)
    return dataset.with_format(None) if form["type"] in _TABLES else dataset


def column_names(dataset: Any) -> list[str]:
    """Names of the columns, in order."""
    names = getattr(dataset, "column_names", None)
    if names is None and len(dataset):
        names = list(dataset[0])
    return [] if names is None else list(names)


def column_of(dataset: Any, name: str) -> list[Any]:
    """All values of a column."""
    if is_hub_dataset(dataset) and dataset.format["type"] is None and hasattr(dataset, "__len__"):
        return list(Cells(dataset, name))
    if hasattr(dataset, "column_names"):
        return list(dataset[name])
    return [dataset[number][name] for number in range(len(dataset))]


def rows_of(dataset: Any, numbers: Sequence[int]) -> list[Row]:
    """Several rows as dicts."""
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(list(numbers))
    return [dataset[number] for number in numbers]


def rows_of_examples(
    examples: Sequence[Any], numbers: Sequence[int], *, with_label: bool
) -> list[Row]:
    """The cells of examples; a `DatasetError` for what is none, or has more or fewer texts."""
    wrong = {type(example).__name__ for example in examples if not is_example(example)}
    if wrong:
        raise DatasetError(
            f"a DataLoader, or a list of examples, must give InputExamples, got {sorted(wrong)}; "
            "make each row an InputExample(texts=[...], label=...), or train with "
            "SentenceTransformerTrainer on a dataset or a list of dicts"
        )
    sizes = [len(example.texts or ()) for example in examples]
    if len(set(sizes)) > 1:
        odd = next(place for place, size in enumerate(sizes) if size != sizes[0])
        raise DatasetError(
            f"examples must have as many texts each, got {sorted(set(sizes))} in {where(numbers)}: "
            f"row {numbers[odd]} has {sizes[odd]} and row {numbers[0]} has {sizes[0]}"
        )
    return [cells_of(example, with_label=with_label) for example in examples]


def has_labels(examples: Sequence[Any]) -> bool:
    """Whether any label is something else than the 0 that an example has by itself."""
    labels = (getattr(example, "label", 0) for example in examples)
    return any(not isinstance(label, (int, float)) or label != 0 for label in labels)


def where(numbers: Sequence[int], dataset_name: str | None = None, most: int = 10) -> str:
    """Rows of a dataset, for a message."""
    shown = ", ".join(str(int(number)) for number in numbers[:most])
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    of_dataset = "" if dataset_name is None else f" of dataset {dataset_name!r}"
    return f"{'row' if len(numbers) == 1 else 'rows'} {shown}{more}{of_dataset}"


def place_of(what: str, name: str | None) -> str:
    """How a message calls a dataset: what it is, and which of several."""
    return f"{what}[{name!r}]" if name else what


def _dataset_of_list(rows: Sequence[Any], what: str) -> Any:
    if any(map(is_example, rows)):
        rows = rows_of_examples(rows, range(len(rows)), with_label=has_labels(rows))
    elif not rows or not all(isinstance(row, Mapping) for row in rows):
        shown = sorted({type(row).__name__ for row in rows}) or "nothing"
        raise DatasetError(
            f"{what} is a list, so it must hold dicts or InputExamples; got {shown}. Columns "
            "become a dataset with datasets.Dataset.from_dict({'anchor': [...], ...})"
        )
    names = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(names):
            raise DatasetError(
                f"{what}: row {number} has {list(row)} and row 0 has {names}; "
                "all rows must have the same columns"
            )
    check_names(names, what)
    columns = {name: [row[name] for row in rows] for name in names}
    try:
        return need("datasets", extra="train").Dataset.from_dict(columns)
    except (TypeError, ValueError, OverflowError) as error:  # a column of several kinds of cells
        raise DatasetError(f"{what}: {_odd_cells(columns) or error}") from error


def _odd_cells(columns: Mapping[str, Any]) -> str:
    """What is wrong with the cells of columns, with the numbers of their rows."""
    found = profile(columns)
    wrong = [problem for column in found.inputs for problem in in_cells(column)]
    wrong += in_label_cells(found.label) if found.label else []
    return "; ".join(problem.text for problem in wrong)


def check_names(names: Sequence[str], what: str) -> None:
    """Raise if columns have names that the trainer uses itself."""
    taken = _RESERVED.intersection(names)
    if taken:
        raise DatasetError(f"{what} has columns with reserved names {sorted(taken)}; rename them")
