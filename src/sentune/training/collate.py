"""Rows -> a batch: every column as ragged tokens, the labels as a tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sentune.data.problems import wrong_order
from sentune.encoder.model import Model
from sentune.errors import DatasetError, InputError, SettingError, warn
from sentune.losses.given import padded
from sentune.text.inputs import check_items
from sentune.text.store import Budget, TokenStore
from sentune.training.dataset_rows import (
    DATASET_NAME,
    LABEL_COLUMNS,
    ROW_NUMBER,
    Row,
    place_of,
    where,
)
from sentune.training.routes import PerColumn, check_columns, for_column
from sentune.types import Features

# {"rows": (b,) numbers of the rows, "columns": {name: Features}, "labels": Tensor, "dataset_name"}
Batch: TypeAlias = "dict[str, Any]"
# By what a column is known where a collator gives each of its features under a name of its own.
_FIRST_OF_COLUMN = (
    "_input_ids",
    "_sentence_embedding",
    "_pixel_values",
    "_input_features",
    "_input_values",
    "_pixel_values_videos",
)


@dataclass
class SentenceTransformerDataCollator:
    """Makes a batch of rows; the columns keep the order of the dataset.

    A column named label, labels, score or scores holds the labels, every other one is an input.
    To change rows first, subclass it and hand the changed rows on to `super().__call__`.

    Args:
        preprocess_fn: Texts -> features, called with `prompt=` and `task=`. With a model's own
            `preprocess` texts are read without padding, by its `read`.
        valid_label_columns: Names that the label column may have; the first found is taken.
        router_mapping: Route of each column; see `SentenceTransformerTrainingArguments`.
        prompts: Text put before each input; see there.
        max_length: Most tokens of a text, in place of the model's: a number, or task -> number.
        read: Texts -> features, as `SentenceTransformer.read`, in place of `preprocess_fn`.

    Raises:
        SettingError: If there is neither `read` nor `preprocess_fn`.
    """

    preprocess_fn: Callable[..., Features] | None = None
    valid_label_columns: Sequence[str] = field(default_factory=lambda: list(LABEL_COLUMNS))
    router_mapping: PerColumn = field(default_factory=dict, repr=False)
    prompts: PerColumn = field(default_factory=dict, repr=False)
    max_length: int | Mapping[str, int] | None = field(default=None, repr=False)
    read: Callable[..., Features] = field(default=None, repr=False, kw_only=True)  # type: ignore[assignment]  # until __post_init__
    # The tokens of each dataset and column, where they are kept, and the memory for all of them.
    _stores: dict[Any, TokenStore] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    _budget: Budget | None = field(default=None, init=False, repr=False, compare=False)
    # Lists of columns whose order was looked at.
    _warned_columns: set[tuple[str, ...]] = field(
        default_factory=set, init=False, repr=False, compare=False
    )
    _is_checked: bool = field(default=False, init=False, repr=False, compare=False)
    # Set by the trainer: a column without a route is refused, since a route would go untrained.
    _needs_routes: bool = field(default=False, init=False, repr=False, compare=False)
    _what: str | None = field(default=None, init=False, repr=False, compare=False)
    _model: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that there is a reader, and find the model that it belongs to."""
        given = self.preprocess_fn if self.read is None else self.read
        if given is None:
            raise SettingError(
                "a collator needs a function that reads texts: preprocess_fn=model.preprocess"
            )
        owner = getattr(given, "__self__", None)
        if isinstance(owner, Model):
            self._model = owner
            given = owner.read if given == owner.preprocess else given
        self.read = given

    @property
    def tokenize_fn(self) -> Callable[..., Features] | None:
        """As `preprocess_fn`."""
        return self.preprocess_fn

    def maybe_warn_about_column_order(self, column_names: Sequence[str]) -> None:
        """Warn of columns in an unusual order; called once for each list of columns."""
        if self._is_checked:  # by the trainer, which knows what its loss goes by
            return
        for problem in wrong_order(list(column_names), "a loss"):
            warn(problem.text)

    def keeping_tokens(self, budget: Budget | None = None) -> SentenceTransformerDataCollator:
        """The same collator, which reads each text once and keeps its tokens.

        Args:
            budget: Memory for the tokens of all columns; None for one of the default size.
        """
        keeping = copy.copy(self)
        keeping._stores, keeping._budget = {}, budget or Budget()
        return keeping

    def for_rows_of(self, what: str) -> SentenceTransformerDataCollator:
        """The same collator, whose messages say what the rows are of."""
        told = copy.copy(self)
        told._what = what
        return told

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """The batch of the rows.

        Args:
            rows: b dicts of cells, all with the same columns.

        Raises:
            DatasetError: If a cell cannot be read; the message names the column and the rows.
        """
        numbers = [row.get(ROW_NUMBER, place) for place, row in enumerate(rows)]
        name = rows[0].get(DATASET_NAME)
        names = [column for column in rows[0] if column not in (ROW_NUMBER, DATASET_NAME)]
        if tuple(names) not in self._warned_columns:
            self.maybe_warn_about_column_order(names)
            self._warned_columns.add(tuple(names))
        label_column = next((c for c in self.valid_label_columns if c in rows[0]), None)
        # The row numbers come first: they tell transformers how many rows there are.
        batch: Batch = {"rows": torch.tensor(numbers), "columns": {}}
        for column in names:
            if column != label_column:
                batch["columns"][column] = self._column(rows, column, name, numbers)
        if label_column is not None:
            batch["labels"] = _labels(rows, label_column, self._where(numbers, name))
        if name is not None:
            batch[DATASET_NAME] = name
        return batch

    def _column(
        self, rows: Sequence[Row], column: str, name: str | None, numbers: Sequence[int]
    ) -> Features:
        if not all(column in row for row in rows):
            raise DatasetError(f"column {column!r} is not in all of {self._where(numbers, name)}")
        texts = [row[column] for row in rows]
        options: dict[str, Any] = {
            "prompt": for_column(self.prompts, column, name),
            "task": for_column(self.router_mapping, column, name),
        }
        if self._model is not None and self._needs_routes:
            place = self._where(numbers, name)
            check_columns(self._model, self.router_mapping, {column: texts}, place, name)
        read: Callable[..., Features] = partial(
            self._read, limit=self._limit_for(options["task"]), **options
        )
        try:
            if self._stores is None:
                return read(texts)
            store = self._stores.get((name, column))
            if store is None:
                store = TokenStore(read, self._budget)
                self._stores[name, column] = store
            return store.take(numbers, texts)
        except (InputError, TypeError):
            for text, number in zip(texts, numbers, strict=True):
                self._read_one(text, f"column {column!r} of {self._where([number], name)}", read)
            raise

    def _read(self, texts: Sequence[Any], *, limit: int | None, **options: Any) -> Features:
        """The features of texts, with at most as many tokens each as the limit says."""
        if limit is None:
            return self.read(texts, **options)
        if self._model is None:
            return self.read(texts, max_length=limit, **options)
        before, self._model.max_seq_length = self._model.max_seq_length, limit
        try:
            return self.read(texts, **options)
        finally:
            self._model.max_seq_length = before

    def _where(self, numbers: Sequence[int], name: str | None) -> str:
        if self._what is None:
            return where(numbers, name)
        return f"{where(numbers)} of {place_of(self._what, name)}"

    def _limit_for(self, task: str | None) -> int | None:
        if isinstance(self.max_length, Mapping):
            return None if task is None else self.max_length.get(task)
        return self.max_length

    def _read_one(self, text: Any, place: str, read: Callable[[list[Any]], Features]) -> None:
        try:
            check_items([text])
            read([text])
        except InputError as error:
            raise DatasetError(f"{place}: {str(error).removeprefix('row 0 ')}") from error


def as_batch(inputs: Mapping[str, Any]) -> Batch:
    """The batch that a collator made, also one of `{column}_input_ids` and the like."""
    if "columns" in inputs:
        return dict(inputs)
    ends = [(name, end) for name in inputs for end in _FIRST_OF_COLUMN if name.endswith(end)]
    columns: dict[str, Features] = {name.removesuffix(end): {} for name, end in ends}
    for key, value in inputs.items():
        owners = [column for column in columns if key.startswith(f"{column}_")]
        if owners:
            column = max(owners, key=len)
            columns[column][key.removeprefix(f"{column}_")] = value
    others = {key: inputs[key] for key in ("labels", "rows", DATASET_NAME) if key in inputs}
    if "label" in inputs:
        others["labels"] = inputs["label"]
    return {"columns": columns, **others}


def as_flat(batch: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The batch with each feature under a name of its own, `{column}_input_ids` ..., padded."""
    flat = {key: batch[key] for key in ("rows", DATASET_NAME) if key in batch}
    for name, column in batch["columns"].items():
        flat |= {f"{name}_{key}": value for key, value in padded(model, column).items()}
    if batch.get("labels") is not None:
        flat["label"] = batch["labels"]
    return flat


def _labels(rows: Sequence[Row], column: str, place: str) -> Tensor:
    """The labels `(b,)`, or `(b, n)` where each is a list."""
    values = [row[column] for row in rows]
    try:
        if isinstance(values[0], Tensor):
            labels = torch.stack(values)
        elif isinstance(values[0], np.ndarray):
            labels = torch.from_numpy(np.stack(values))
        else:
            labels = torch.tensor(values)
        return labels.float() if labels.dtype == torch.float64 else labels
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f"the labels in column {column!r} must be numbers, or lists of as many numbers; "
            f"{place} hold {values[:3]!r} ... ({error}). Class names become numbers "
            f"with dataset.class_encode_column({column!r})"
        ) from error
