"""Hard negatives for the pairs of a file: documents that look like the answer and are not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sentune.data import write as written
from sentune.data.columns import input_columns, label_column
from sentune.data.read import column as column_of
from sentune.errors import DatasetError, SettingError
from sentune.hub.usual import MODEL
from sentune.search.negatives import mine_hard_negatives
from sentune.search.report import MiningReport
from sentune.workbench.rows.prepared import complete, one_is_alike, rows_of
from sentune.workbench.settings import Settings

# Names of the formats here -> those of `mine_hard_negatives`.
FORMATS = {
    "triplet": "triplet",
    "n-tuple": "n-tuple",
    "labelled-pair": "labeled-pair",
    "labelled-list": "labeled-list",
}
_WITH_LISTS = ("labelled-list",)
_ALIKE = 0.8  # of the highest score: from here on a scored pair counts as one that belongs together


@dataclass(frozen=True)
class Mined:
    """What `sentune.workbench.mine` finds.

    Attributes:
        dataset: The rows, a `datasets.Dataset`.
        report: How many there are, what was dropped and why.
        notes: What was done to the rows beforehand.
        path: The file that they were written to; None for none.
    """

    dataset: Any = field(repr=False)
    report: MiningReport
    notes: tuple[str, ...] = ()
    path: Path | None = None

    def __str__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        names = ", ".join(self.dataset.column_names)
        lines = [f"{len(self.dataset):,} rows{where}, with the columns {names}", str(self.report)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, without the rows."""
        return {
            "rows": len(self.dataset),
            "columns": list(self.dataset.column_names),
            "path": None if self.path is None else str(self.path),
            "report": asdict(self.report),
            "notes": list(self.notes),
        }


def mine(
    data: Any,
    model: Any = MODEL,
    *,
    output: str | Path | None = None,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    label: str | None = None,
    label_at_least: float | None = None,
    corpus: Any | None = None,
    cross_encoder: Any | None = None,
    count: int = 3,
    format: str = "triplet",
    has_scores: bool = False,
    seed: int = 12,
    loading: Mapping[str, Any] | None = None,
    **limits: Any,
) -> Mined:
    """Add hard negatives to pairs: to each anchor documents close to it that are no answer of it.

    Args:
        data: Pairs of an anchor and a positive: files, a `datasets.Dataset`, a dict of lists or a
            list of dicts. Of pairs with 0 or 1 those with 1 are taken, of scored pairs those with a
            high score, of triplets the anchors and positives.
        model: Embeds the texts: a folder, an id on the Hugging Face Hub, or a loaded model.
        output: File for the rows, .csv, .tsv, .jsonl, .json or .parquet; None writes none.
        split: Which part of a file or dataset with several.
        columns: New name -> name in the file, of the columns to read.
        label: Column with the labels.
        label_at_least: Of scored pairs, take those with such a score; by default 0.8 of the
            highest.
        corpus: More documents to find negatives in, besides all positives: files, or texts.
        cross_encoder: Scores the candidates again, where a limit looks at scores: a folder, an id,
            or a loaded model.
        count: Negatives for each anchor.
        format: "triplet", a row per negative; "n-tuple", a row per pair with all negatives in
            columns; "labelled-pair", rows with label 1 or 0; "labelled-list", a list of documents
            with a list of labels.
        has_scores: Whether to add the scores.
        seed: For `sampling_strategy="random"`.
        loading: For loading the models: `device`, `dtype` ...
        **limits: As of `mine_hard_negatives`: `range_min`, `range_max`, `absolute_margin`,
            `relative_margin`, `max_score`, `min_score`, `sampling_strategy`, `batch_size` ...

    Raises:
        DatasetError: If there are no pairs to find negatives for.
        SettingError: If a setting is outside of what is allowed.
        OutputError: If the file cannot be written.
    """
    if format not in FORMATS:
        raise SettingError(f"format must be one of {', '.join(FORMATS)}; got {format!r}")
    if output is not None:
        places = [one for given in (data, corpus) for one in _places(given)]
        written.check(output, has_lists=has_scores or format in _WITH_LISTS, sources=places)
    settings = Settings(split=split, columns=dict(columns) if columns else None, label=label,
                        seed=seed)  # fmt: skip
    pairs, notes = _pairs(rows_of(data, settings), label_at_least)
    documents = None if corpus is None else _texts(corpus)
    options = {name: value for name, value in (loading or {}).items() if value is not None}
    with _seeded(seed):
        dataset, report = mine_hard_negatives(
            pairs,
            _loaded(model, options),
            corpus=documents,
            cross_encoder=None if cross_encoder is None else _loaded(cross_encoder, options),
            num_negatives=count,
            output_format=FORMATS[format],  # type: ignore[arg-type]
            output_scores=has_scores,
            verbose=False,
            output_report=True,
            **limits,
        )
    path = None if output is None else written.write(dataset, output)
    return Mined(dataset, report, tuple(notes), path)


def _places(data: Any) -> list[str]:
    several = data if isinstance(data, (list, tuple)) else [data]
    return [str(one) for one in several if isinstance(one, Path) or isinstance(data, str)]


def _pairs(rows: Any, least: float | None) -> tuple[Any, list[str]]:
    """The pairs of an anchor and a positive among some rows."""
    names, label = input_columns(rows.column_names), label_column(rows.column_names)
    notes: list[str] = []
    if len(names) < 2:
        raise DatasetError(
            f"negatives are looked for to pairs of texts, and the only text column is {names}; "
            "name two columns with --columns anchor=...,positive=..."
        )
    rows = complete(rows, notes)
    if label is not None:
        rows = _alike(one_is_alike(rows, notes), label, least, notes)
    if len(names) > 2:
        notes.append(f"the columns {', '.join(names[2:])} are left out")
    return rows.select_columns(names[:2]), notes


def _alike(rows: Any, label: str, least: float | None, notes: list[str]) -> Any:
    """The rows whose label says that both texts belong together."""
    values = np.asarray(rows[label], dtype=float) if _are_numbers(rows[label]) else None
    if values is None or (set(values) - {0.0, 1.0} and np.all(values == values.round())
                          and least is None and values.max() > 1):  # fmt: skip
        raise DatasetError(
            f"the labels in {label!r} are classes, which do not say which pairs belong together; "
            "leave the column out with --columns, or say which count with --label-at-least"
        )
    floor = least if least is not None else _ALIKE * float(values.max())
    chosen = np.flatnonzero(values >= floor)
    if not len(chosen):
        raise DatasetError(f"no row has a label of at least {floor:g} in {label!r}")
    notes.append(
        f"{len(chosen):,} of {len(rows):,} rows are taken, those with a label of at least {floor:g}"
    )
    return rows.select(chosen)


def _are_numbers(cells: Sequence[Any]) -> bool:
    return all(isinstance(cell, (int, float)) for cell in cells)


def _texts(corpus: Any) -> list[str]:
    is_files = isinstance(corpus, (str, Path)) or all(isinstance(one, Path) for one in corpus)
    if not is_files and all(isinstance(one, str) for one in corpus):
        return list(corpus)
    return column_of(rows_of(corpus, Settings()))


def _loaded(model: Any, options: Mapping[str, Any]) -> Any:
    from sentune.encoder.load import load

    return load(model, **options) if isinstance(model, (str, Path)) else model


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's random numbers, which choose among the candidates; the caller's are put back."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
