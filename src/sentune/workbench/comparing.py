"""Measures several models on the same held-out rows, one model in memory after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sentune.data import forms
from sentune.data.columns import class_names, input_columns, label_column
from sentune.errors import DatasetError, InputTypeError, MissingDependencyError, SettingError
from sentune.files.kinds import CROSS_ENCODER, SENTENCE_TRANSFORMER
from sentune.files.plan import kind_of
from sentune.folders.source import source_folder
from sentune.hub.fetch import Access
from sentune.report import missing
from sentune.workbench.measuring.before_after import compared
from sentune.workbench.measuring.by_form import measure_for
from sentune.workbench.measuring.comparison import (
    Comparison,
    Difference,
    ModelFigure,
    check_folder,
    short_names,
)
from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.measuring.measure import Measure, Values, gain, interval
from sentune.workbench.records.comparison import (
    record_of,
    seen_in_training,
    source_of,
    with_warnings,
    words_of_seen,
)
from sentune.workbench.records.optional import optional
from sentune.workbench.rows.alike import alike_class
from sentune.workbench.rows.held_out import REFERENCES, HeldOut, held_out
from sentune.workbench.settings import Settings

Say = Callable[[str], None]


@dataclass
class _Measured:
    """A model that was measured; `model` is kept for the two that the report shows."""

    figure: ModelFigure
    values: Values
    model: Encoded | None


def evaluate(
    models: Any,
    data: Any,
    *,
    train: Any | None = None,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    label: str | None = None,
    rows: int | None = None,
    seed: int = 12,
    source: str | Path | Sequence[str | Path] | None = None,
    train_source: str | Path | Sequence[str | Path] | None = None,
    output: str | Path | None = None,
    command: str | None = None,
    examples: bool = True,
    on_progress: Say | None = None,
    **options: Any,
) -> Comparison:
    """Compare models on the same held-out rows; the form of the rows decides what is measured.

    | form | figure |
    |---|---|
    | pair and score | Spearman's correlation of similarities and scores |
    | pair and 0 or 1, pair and class | average precision of the pairs that are alike |
    | sentence and class | accuracy of the vote of the 5 nearest labelled texts |
    | pair | MRR@10 of the second text among those of all rows |
    | triplet, several negatives | how often the positive is nearer than all negatives |
    | sentence | MRR@10 of the second half of a text, found by its first half |

    Intervals hold 95% of 1,000 rounds of a bootstrap over the rows; rows that share a text are
    drawn together. Differences are paired: both models see the same draws.

    Args:
        models: One or several: folders, ids on the Hugging Face Hub, or loaded models.
        data: Held-out rows: files, a `datasets.Dataset`, a dict of lists or a list of dicts.
        train: Rows of the same form to look for neighbours and answers in, as the labelled texts
            of classes; None looks among the held-out rows alone.
        split: Which part of data with several; of `train` it is "train", if there is such a one.
        columns: New name -> name in the file, of the columns to read.
        label: Column with the labels.
        rows: Measure a random sample of so many rows.
        seed: For the sample and the bootstrap.
        source: The files that `data` was read from, where it is not files itself.
        train_source: The same of `train`.
        output: Folder for `report.html` and `run.json`; None writes neither.
        command: What the report shows as the command that made it.
        examples: Whether to prepare what the report shows of single texts, which takes a while.
        on_progress: Called with a sentence before each step.
        **options: For loading each model: `device`, `dtype`, `truncate_dim` ...

    Raises:
        DatasetError: If nothing can be measured on such rows.
        SettingError: If a model does not embed texts, or there is none.
        MissingDependencyError: If there is an output and the extra `report` is not installed.

    Example:
        >>> print(sentune.workbench.evaluate(["all-MiniLM-L6-v2", "my-model"], "held-out.csv"))
        ... # doctest: +SKIP
    """
    started = time.perf_counter()
    say = on_progress or (lambda text: None)
    asked = list(models) if isinstance(models, (list, tuple)) else [models]
    if not asked:
        raise SettingError("give at least one model to evaluate")
    if output is not None:
        check_folder(output)
        if reason := missing():
            raise MissingDependencyError(reason)
    settings = Settings(split=split, columns=dict(columns) if columns else None, label=label,
                        test_share=0, seed=seed)  # fmt: skip
    for model in asked:
        _check_model(model)
    say("reading the rows")
    found = held_out(data, train, settings, rows)
    paths = [_path_of(model, place) for place, model in enumerate(asked, 1)]
    named = data if source is None else source
    seen = seen_in_training(paths, named)
    found.notes.extend(map(words_of_seen, seen))
    measured, measure = _measured(asked, paths, found, say, options, seed)
    differences = _differences(measured, seed)
    train_named = train if train_source is None else train_source
    figures = tuple(one.figure for one in measured)
    result = Comparison(
        models=figures,
        differences=differences,
        metric=measure.metric,
        explanation=measure.explanation,
        rows=len(found.rows),
        source=source_of(named),
        form=found.form.words,
        notes=tuple(found.notes),
    )
    record = record_of(result, found, named, train_named, seed, command)
    record |= with_warnings(record, seen, dict(zip(paths, short_names(paths), strict=True)))
    if examples and len(asked) > 1:
        say("looking at the queries, neighbours and scores behind the figures")
        record |= optional(lambda: _shown(measured, found), "the pictures of the report", say)
    record["seconds"] = round(time.perf_counter() - started, 1)
    result = Comparison(**{**vars(result), "record": record})
    if output is not None:
        result.write(output)
    return result


def _measured(
    asked: Sequence[Any],
    paths: Sequence[str],
    rows: HeldOut,
    say: Say,
    options: Mapping[str, Any],
    seed: int,
) -> tuple[list[_Measured], Measure]:
    measure: Measure | None = None
    found: list[_Measured] = []
    for place, (model, path, name) in enumerate(zip(asked, paths, short_names(paths), strict=True)):
        say(f"model {place + 1} of {len(asked)}: {name}")
        encoder = Encoded(_loaded(model, options))
        if measure is None:
            measure = _measure(rows, encoder, seed)
        values = measure.values(encoder)
        if not np.isfinite(values.figure):
            raise DatasetError(f"{name} gives embeddings that are not finite for some of the rows")
        span = interval(values, seed)
        width = getattr(encoder.model, "get_embedding_dimension", lambda: None)()
        figure = ModelFigure(name, path, values.figure, span.low, span.high, width)
        found.append(_Measured(figure, values, encoder))
        _let_go(found)
    if measure is None:
        raise SettingError("give at least one model to evaluate")
    return found, measure


def _measure(rows: HeldOut, first: Encoded, seed: int) -> Measure:
    return measure_for(
        rows.rows,
        rows.train,
        rows.form,
        groups=rows.groups,
        model=first,
        references=REFERENCES,
        seed=seed,
    )


def _let_go(found: list[_Measured]) -> None:
    """Keep the first model and the best of the others; the memory of the rest is freed."""
    best = max(found[1:], key=lambda one: one.figure.figure, default=None)
    for one in found[1:]:
        if one is not best:
            one.model = None


def _check_model(model: Any) -> None:
    """Raise before any work if a model is none, or gives no embeddings."""
    if isinstance(model, (str, Path)):
        owners = (SENTENCE_TRANSFORMER.owner, CROSS_ENCODER.owner)
        kind = kind_of(source_folder(model, Access(owners=owners))).name
        gives_vectors = kind == SENTENCE_TRANSFORMER.name
    else:
        kind, gives_vectors = type(model).__name__, hasattr(model, "encode")
        if not gives_vectors and not hasattr(model, "predict"):
            raise InputTypeError(f"models must be folders, Hub ids or loaded models, got {kind}")
    if not gives_vectors:
        name = model if isinstance(model, (str, Path)) else "one of the models"
        raise SettingError(
            f"{name} is a {kind}, which scores pairs and gives no embeddings; measure it with the "
            "evaluators in sentune.evaluation"
        )


def _loaded(model: Any, options: Mapping[str, Any]) -> Any:
    from sentune.encoder.load import load

    if not isinstance(model, (str, Path)):
        return model
    return load(model, **{name: value for name, value in options.items() if value is not None})


def _path_of(model: Any, place: int) -> str:
    if isinstance(model, (str, Path)):
        return str(model)
    card = getattr(model, "model_card_data", None)
    return str(getattr(card, "model_name", None) or getattr(card, "base_model", None) or place)


def _differences(measured: Sequence[_Measured], seed: int) -> tuple[Difference, ...]:
    """Of each model to the first, and of the best to each of the others."""
    first, *others = measured
    pairs = [(first, one) for one in others]
    best, *rest = sorted(measured, key=lambda one: -one.figure.figure)
    if best is not first:
        pairs += [(one, best) for one in rest if one is not first]
    return tuple(_difference(one, other, seed) for one, other in pairs)


def _difference(first: _Measured, second: _Measured, seed: int) -> Difference:
    found = gain(first.values, second.values, seed)
    return Difference(first.figure.name, second.figure.name, found.value, found.low, found.high)


def _shown(measured: Sequence[_Measured], rows: HeldOut) -> dict[str, Any]:
    """What the report shows of the first model and the best of the others."""
    shown = [one for one in measured if one.model is not None]
    kept = [one.model for one in shown if one.model is not None]
    if len(kept) < 2:
        return {}
    sides = {side: one.figure.name for side, one in zip(("before", "after"), shown, strict=True)}
    alike = None
    if rows.form is forms.PAIR_AND_CLASS:
        names = list(rows.rows.column_names)
        label = str(label_column(names))
        columns = [list(rows.rows[name]) for name in input_columns(names)]
        labels = np.asarray(rows.rows[label])
        alike = alike_class(columns, labels, class_names(rows.rows), kept[0])
    found = compared(kept[0], kept[1], rows.rows, rows.form, alike=alike)
    return {"sides": sides, **found}
