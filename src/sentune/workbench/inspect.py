"""Look at data before training on it: what it is, what is wrong with it, and what fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sentune.checks import check_known
from sentune.data.columns import class_name, class_names, input_columns, label_column
from sentune.data.given import rows_of
from sentune.data.profile import Profile, profile
from sentune.data.read import places
from sentune.data.sources import own_part
from sentune.data.write import check as check_output
from sentune.data.write import write
from sentune.errors import DatasetError, SettingError
from sentune.hub.usual import MODEL
from sentune.losses.fitting import check_loss, problems
from sentune.workbench.inspection import advice, overview, show
from sentune.workbench.inspection.checks import CHECKS, Check, run
from sentune.workbench.inspection.hits import Hits
from sentune.workbench.inspection.meaning import MOST_ROWS, Meaning
from sentune.workbench.inspection.table import Table, tables

_EXAMPLES = 5
_TO_TRAIN = 26  # rows that `sentune train` needs: 16 are left of them when two fifths are held out
_MANY = 20_000  # rows from which on it takes a while
_MANY_TO_ENCODE = 1_000
_KINDS = tuple(check.kind for check in CHECKS)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with some rows.

    Args:
        kind: What it is: one of `sentune.workbench.inspection.checks.CHECKS`.
        rows: The rows, from 0.
        notes: What is wrong with each of them.
        effect: What such rows do to training.
        advice: What to do about them.
        is_harmful: Whether `Inspection.clean` leaves them out without being asked.
        examples: Some of the rows: `{"row", "place", "note", "cells", "other"}`, where "place" is
            where in a file it is, and "other" has the cells of the row that it belongs to.
    """

    kind: str
    rows: list[int]
    notes: list[str]
    effect: str
    advice: str
    is_harmful: bool
    examples: list[dict[str, Any]]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        names = "kind count rows notes effect advice is_harmful examples".split()
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found; printed as text, in a notebook as a table.

    Attributes:
        form: Name of the form of the rows; None if no loss reads them.
        why: What says so.
        rows: How many there are.
        columns: Of each column of texts: name, texts, different ones, characters, scripts.
        lengths: Of each column: a histogram of tokens (of words without a model), percentiles and
            how many texts are longer than the model reads.
        labels: What the label column holds; None without one.
        findings: What is wrong with single rows.
        problems: What is wrong with the data as a whole: `{"text", "is_fatal"}`.
        losses: Those that fit, the best first: `{"name", "why"}`.
        commands: How to start: `{"command", "python"}`.
        source: Where the rows came from, in words.
    """

    form: str | None
    why: str
    rows: int
    columns: list[dict[str, Any]]
    lengths: dict[str, dict[str, Any]]
    labels: dict[str, Any] | None
    findings: list[Finding]
    problems: list[dict[str, Any]]
    losses: list[dict[str, str]]
    commands: dict[str, str]
    source: str = ""
    notes: list[str] = field(default_factory=list)
    _data: Any = field(default=None, repr=False)
    _sources: Sequence[str] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        names = "form why rows columns lengths labels problems losses commands source notes".split()
        plain = {name: getattr(self, name) for name in names}
        return plain | {"findings": [finding.to_dict() for finding in self.findings]}

    def __str__(self) -> str:
        return show.text(self.to_dict())

    def _repr_html_(self) -> str:
        return show.html(self.to_dict())

    def reasons(self, also: Sequence[str] = ()) -> dict[int, list[str]]:
        """The rows that training is better without, each with the reasons.

        Args:
            also: Kinds of findings whose rows may be meant, and are to go nevertheless, such as
                "likely wrong labels".
        """
        _check_kinds(also)
        found: dict[int, list[str]] = {}
        for each in self.findings:
            if each.is_harmful or each.kind in also:
                for row, note in zip(each.rows, each.notes, strict=True):
                    found.setdefault(row, []).append(f"{each.kind}: {note}")
        return dict(sorted(found.items()))

    def clean(self, also: Sequence[str] = ()) -> Any:
        """The rows that are not harmful, as a `datasets.Dataset`; `also` as in `reasons`."""
        gone = self.reasons(also)
        return self._data.select([row for row in range(self.rows) if row not in gone])

    def removed(self, also: Sequence[str] = ()) -> Any:
        """The harmful rows as a `datasets.Dataset`, with columns "row" and "why" added."""
        gone = self.reasons(also)
        why = ["; ".join(reasons) for reasons in gone.values()]
        return _with_columns(self._data.select(list(gone)), {"row": [*gone], "why": why})

    def write_clean(self, path: str | Path, also: Sequence[str] = ()) -> Path:
        """Write the rows that are not harmful, and those that are beside them.

        Args:
            path: csv, tsv, json, jsonl or parquet file for the rows that stay.
            also: As in `reasons`.

        Returns:
            The file with the rows that went, `NAME.removed.ENDING`: their columns, their number
            and why they went.
        """
        path = Path(path)
        for one in (path, beside(path)):
            check_output(one, sources=self._sources)
        write(self.clean(also), path)
        write(self.removed(also), beside(path))
        return beside(path)


def inspect(
    data: Any,
    model: Any = None,
    *,
    test: Any = None,
    loss: str | None = None,
    batch_size: int | None = None,
    most_rows: int = MOST_ROWS,
    seed: int = 0,
    source: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Inspection:
    """What data for training holds, what is wrong with it, and which losses fit it.

    Args:
        data: Whatever `sentune.data.read.read` takes, a `datasets.Dataset`, a dict of lists, or
            any other rows that can be trained on.
        model: A model, its folder or its id on the Hub. With it, tokens are counted and labels that
            are likely wrong are found; without, nothing is encoded, and words are counted.
        test: Rows that are not to be in the data, in the same shapes.
        loss: A loss to check the data for; None for the one that fits best.
        batch_size: Rows of a batch, if known, to check the data for.
        most_rows: Of more rows, a random sample of so many is looked at with the model.
        seed: Of the sample.
        source: What the data was read from with the options, where it is read already.
        on_progress: Called with a line before what takes long.
        **options: How files are read: `columns`, `label` and others of `sentune.data.read.read`.
            Of the test data all rows are read, whatever `split` says; where it has several parts,
            those of its "test".

    Raises:
        DatasetError: If the data cannot be read, or the test data has other columns.
    """
    check_options(loss)
    sources = [one for one in source or _sources(data) if one != "-"]  # which can be read once
    rows = data if source is not None else rows_of(data, **options)
    found = profile(rows)
    if not found.rows:
        raise DatasetError("the data has no rows")
    if not found.inputs:
        raise DatasetError(
            f"the data has no column of texts, only {', '.join(rows.column_names)}; name the "
            "columns with columns=... or --columns, and the label with label=... or --label"
        )
    form = advice.form_of(found)
    encoder = _encoder(model)
    tell = on_progress or (lambda text: None)
    if found.rows >= _MANY:
        tell(f"{found.rows:,} rows are read; looking for equal and nearly equal texts ...")
    table = _table(rows, found, form, None if test is None else _test_rows(test, options))
    notes = _attach(table, encoder, most_rows, seed)
    if table.meaning is not None and len(table.meaning.rows) >= _MANY_TO_ENCODE:
        tell(f"Encoding {len(table.meaning.rows):,} rows with the model ...")
    losses = advice.reasons(found, form)
    if losses and found.rows < _TO_TRAIN:
        notes.append(_few(found.rows))
    best = loss or (losses[0]["name"] if losses else "")
    name = model if isinstance(model, (str, Path)) else MODEL
    wrong = problems(found, best, batch_size=batch_size)
    return Inspection(
        form=form.name if form else None,
        why=advice.why(found, form),
        rows=found.rows,
        columns=overview.columns(table),
        lengths=overview.lengths(table, encoder),
        labels=overview.labels(found, table),
        findings=[_finding(check, hits, rows) for check, hits in run(table, CHECKS)],
        problems=[{"text": each.text, "is_fatal": each.is_fatal} for each in wrong],
        losses=losses,
        commands=advice.start(sources, str(name), options, losses, form, _classes(table), loss),
        source=", ".join(sources or (["standard input"] if source else [])),
        notes=notes,
        _data=rows,
        _sources=[*sources, *_sources(test)],
    )


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        check_known("finding", kind, _KINDS)


def beside(path: Path) -> Path:
    """Where the rows go that are not in the cleaned data."""
    return path.with_name(f"{path.stem}.removed{path.suffix}")


def check_options(
    loss: str | None,
    clean: Path | None = None,
    sources: Sequence[str | Path] = (),
    also: Sequence[str] = (),
) -> None:
    """Refuse what would fail after the work is done, and cleaned data in the place of the data.

    Raises:
        SettingError: If there is no such loss or finding, or rows cannot be written to such a file.
    """
    _check_kinds(also)
    if loss is not None:
        check_loss(loss)
    if clean is not None:
        for path in (clean, beside(clean)):
            check_output(path, sources=sources)


def _sources(data: Any) -> list[str]:
    several = data if isinstance(data, (list, tuple)) else [data]
    return [str(one) for one in several if isinstance(one, (str, Path))]


def _test_rows(test: Any, options: Mapping[str, Any]) -> Any:
    """The test data; a split, and a file for broken rows, are of the data alone."""
    own = {name: value for name, value in options.items() if name != "split"}
    if own.get("skip_bad_rows"):
        own["skip_bad_rows"] = True
    return own_part(lambda split: rows_of(test, split, **own), "test", "train")


def _few(rows: int) -> str:
    return (
        f"{rows} rows are too few for sentune train, which holds some out to choose by and to "
        f"measure, and needs at least {_TO_TRAIN}; to show that a model is better takes hundreds"
    )


def _encoder(model: Any) -> Any:
    if not isinstance(model, (str, Path)):
        return model
    from sentune.encoder.sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model))


def _table(rows: Any, found: Profile, form: Any, test: Any) -> Table:
    names = [column.name for column in found.inputs]
    labels = None
    if found.label and found.kind.kind in ("binary", "class", "score"):
        labels = _numbers(_cells(rows, found.label.name))
    columns = [_texts(rows, name) for name in names]
    if test is not None:
        others = input_columns(list(test.column_names))
        if len(others) != len(names):
            raise DatasetError(
                f"the test data has the text columns {', '.join(others)}, and the data has "
                f"{', '.join(names)}; choose columns so that both have the same"
            )
        theirs = names if {*names} <= {*others} else others
        table = tables(names, columns, labels, form, [_texts(test, name) for name in theirs])
    else:
        table = tables(names, columns, labels, form)
    table.classes = class_names(rows)
    return table


def _texts(rows: Any, name: str) -> list[str]:
    """The texts of a column; "" where there is none."""
    cells = _cells(rows, name)
    return [cell if isinstance(cell, str) else "" if cell is None else str(cell) for cell in cells]


def _cells(rows: Any, name: str) -> list[Any]:
    return rows.with_format(None).select_columns([name])[:][name]


def _numbers(cells: Sequence[Any]) -> np.ndarray:
    """Labels as numbers, NaN where one is missing."""
    return np.array([np.nan if cell is None else cell for cell in cells], np.float64)


def _attach(table: Table, encoder: Any, most: int, seed: int) -> list[str]:
    """Give the checks a model; notes on what they cannot see."""
    if encoder is None:
        return ["without --model nothing is encoded: wrong labels are not looked for"]
    if most < 1:
        raise SettingError(f"most_rows must be at least 1, got {most}")
    usable = np.flatnonzero(table.is_whole())
    table.meaning = Meaning(encoder, table.texts, table.exact, usable, table.form, most, seed)
    if table.meaning.is_sample:
        return [f"wrong labels are looked for in {most:,} rows drawn at random"]
    return []


def _with_columns(rows: Any, columns: Mapping[str, list[Any]]) -> Any:
    """The rows with columns added, under other names where they have such ones already."""
    for name, cells in columns.items():
        while name in rows.column_names:
            name += "_"
        rows = rows.add_column(name, cells)
    return rows


def _finding(check: Check, hits: Hits, rows: Any) -> Finding:
    examples, where = [], places(rows)
    for place in hits.order[:_EXAMPLES]:
        row, other = hits.rows[place], hits.others[place]
        example = {"row": row, "place": where.of(row), "note": hits.notes[place]}
        cells = {"cells": _row(rows, row), "other": _row(rows, other) if other >= 0 else None}
        examples.append(example | cells)
    words = check.kind, hits.rows, hits.notes, check.effect, check.advice, check.is_harmful
    return Finding(*words, examples)


def _row(rows: Any, row: int) -> dict[str, Any]:
    """The cells of a row, its class by name."""
    found = dict(rows[row])
    label = label_column(list(found))
    name = None if label is None else class_name(found[label], class_names(rows))
    return found if label is None or name is None else {**found, label: name}


def _classes(table: Table) -> int:
    known = np.zeros(0) if table.labels is None else table.known_labels()
    return int(known.max(initial=-1)) + 1
