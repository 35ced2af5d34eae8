"""Measures several models on the same held-out rows, one model in memory after the other."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from sentune.data import forms
from sentune.data.columns import input_columns, label_column
from sentune.data.forms import Form
from sentune.errors import DatasetError, InputTypeError, SettingError
from sentune.files.kinds import CROSS_ENCODER, SENTENCE_TRANSFORMER
from sentune.files.plan import kind_of
from sentune.folders.source import source_folder
from sentune.hub.fetch import Access
from sentune.record import facts
from sentune.workbench import run_file
from sentune.workbench.before_after import compared
from sentune.workbench.classes import aligned
from sentune.workbench.comparison import Comparison, Difference, ModelFigure, short_names
from sentune.workbench.duplicates import normalised
from sentune.workbench.encoded import Encoded
from sentune.workbench.measure import Measure, Values, alike_class, gain, interval, measure_for
from sentune.workbench.prepared import halves_of, parts_of, rows_of
from sentune.workbench.settings import Settings

_REFERENCES = 20_000  # training rows that neighbours and answers are looked for among, at most

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Rows:
    """Held-out rows, those that give reference texts, and what there is to say of them."""

    form: Form
    held_out: Any
    train: Any | None
    groups: Any
    notes: list[str]


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
        split: Which part of a file or dataset with several.
        columns: New name -> name in the file, of the columns to read.
        label: Column with the labels.
        rows: Measure a random sample of so many rows.
        seed: For the sample and the bootstrap.
        source: The files that `data` was read from, where it is not files itself.
        train_source: The same of `train`.
        output: Folder for `report.html` and `run.json`; None writes neither.
        on_progress: Called with a sentence before each step.
        **options: For loading each model: `device`, `dtype`, `truncate_dim` ...

    Raises:
        DatasetError: If nothing can be measured on such rows.
        SettingError: If a model does not embed texts, or there is none.

    Example:
        >>> print(sentune.workbench.evaluate(["all-MiniLM-L6-v2", "my-model"], "held-out.csv"))
        ... # doctest: +SKIP
    """
    started = time.perf_counter()
    say = on_progress or (lambda text: None)
    asked = list(models) if isinstance(models, (list, tuple)) else [models]
    if not asked:
        raise SettingError("give at least one model to evaluate")
    settings = Settings(split=split, columns=dict(columns) if columns else None, label=label,
                        test_share=0, seed=seed)  # fmt: skip
    for model in asked:
        _check_model(model)
    say("reading the rows")
    found = _rows(data, train, settings, rows)
    paths = [_path_of(model, place) for place, model in enumerate(asked, 1)]
    measured, measure = _measured(asked, paths, found, say, options, seed)
    differences = _differences(measured, seed)
    named = data if source is None else source
    train_named = train if train_source is None else train_source
    figures = tuple(one.figure for one in measured)
    result = Comparison(
        models=figures,
        differences=differences,
        metric=measure.metric,
        explanation=measure.explanation,
        rows=len(found.held_out),
        source=_source(named),
        form=found.form.words,
        notes=tuple(found.notes),
    )
    say("looking at the queries, neighbours and scores behind the figures")
    record = _record(result, found, named, train_named, seed) | _shown(measured, found)
    record["seconds"] = round(time.perf_counter() - started, 1)
    result = Comparison(**{**vars(result), "record": record})
    if output is not None:
        result.write(output)
    return result


def _rows(data: Any, train: Any | None, settings: Settings, count: int | None) -> _Rows:
    """The rows, complete and of one form."""
    held_out = rows_of(data, settings)
    notes = []
    if count is not None and count < len(held_out):
        notes.append(f"measured on {count:,} of {len(held_out):,} rows, chosen at random")
        chosen = np.random.default_rng(settings.seed).permutation(len(held_out))[:count]
        held_out = held_out.select(np.sort(chosen))
    source = held_out if train is None else rows_of(train, settings)
    held_out, unknown = aligned(held_out, source)
    if unknown:
        notes.append(
            f"the classes {', '.join(unknown)} are not in the training rows: texts of them cannot "
            "be told right"
        )
    parts = parts_of(source, {"dev": held_out}, settings)
    form, rows, groups = parts.form, parts.rows["dev"], parts.groups["dev"]
    notes += dict.fromkeys(parts.notes)
    reference = None if train is None else parts.rows["train"]
    if form is forms.TEXT:
        rows, places = halves_of(rows)
        groups, form = groups[places], forms.PAIR
        reference = None if reference is None else halves_of(reference)[0]
        notes.append("the texts have no labels, so the first half of each is to find the second")
    notes += _overlap(rows, reference)
    if reference is not None and len(reference) > _REFERENCES:
        notes.append(f"{_REFERENCES:,} of {len(reference):,} training rows are looked at")
    if form is forms.TEXT_AND_CLASS and reference is None:
        notes.append(
            "the nearest texts are looked for among the held-out rows themselves; give the "
            "training texts (--train) to measure as a classifier with these would be used"
        )
    return _Rows(form, rows, reference, groups, notes)


def _overlap(rows: Any, train: Any | None) -> list[str]:
    """A note where texts are on both sides."""
    if train is None:
        return []
    known = {normalised(text) for name in input_columns(train.column_names) for text in train[name]}
    columns = [rows[name] for name in input_columns(rows.column_names)]
    count = sum(
        any(normalised(text) in known for text in row) for row in zip(*columns, strict=True)
    )
    if not count:
        return []
    return [
        f"{count:,} of {len(rows):,} held-out rows have a text that is in the training rows, too; "
        "figures on them say little about new texts"
    ]


def _measured(
    asked: Sequence[Any],
    paths: Sequence[str],
    rows: _Rows,
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
        # Draws with many equal values can all be on one side of the figure.
        ends = min(span.low, values.figure), max(span.high, values.figure)
        figure = ModelFigure(name, path, values.figure, *ends, width)
        found.append(_Measured(figure, values, encoder))
        _let_go(found)
    if measure is None:
        raise SettingError("give at least one model to evaluate")
    return found, measure


def _measure(rows: _Rows, first: Encoded, seed: int) -> Measure:
    return measure_for(
        rows.held_out,
        rows.train,
        rows.form,
        groups=rows.groups,
        model=first,
        references=_REFERENCES,
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
    """Of each model to the first; and of the best to the next, if both are others."""
    first, *others = measured
    pairs = [(first, one) for one in others]
    ranked = sorted(measured, key=lambda one: -one.figure.figure)
    if len(ranked) > 1 and first not in ranked[:2]:
        pairs.append((ranked[1], ranked[0]))
    return tuple(_difference(one, other, seed) for one, other in pairs)


def _difference(first: _Measured, second: _Measured, seed: int) -> Difference:
    found = gain(first.values, second.values, seed)
    return Difference(first.figure.name, second.figure.name, found.value, found.low, found.high)


def _source(data: Any) -> str:
    if isinstance(data, (str, Path)):
        return str(data)
    if isinstance(data, (list, tuple)) and all(isinstance(one, (str, Path)) for one in data):
        return ", ".join(map(str, data))
    return "the given data"


def _shown(measured: Sequence[_Measured], rows: _Rows) -> dict[str, Any]:
    """What the report shows of the first model and the best of the others."""
    shown = [one for one in measured if one.model is not None]
    kept = [one.model for one in shown if one.model is not None]
    if len(kept) < 2:
        return {}
    sides = {side: one.figure.name for side, one in zip(("before", "after"), shown, strict=True)}
    alike = None
    if rows.form is forms.PAIR_AND_CLASS:
        names = list(rows.held_out.column_names)
        label = str(label_column(names))
        columns = [list(rows.held_out[name]) for name in input_columns(names)]
        classes = getattr(rows.held_out.features[label], "names", None)
        labels = np.asarray(rows.held_out[label])
        alike = alike_class(columns, labels, classes, kept[0])
    found = compared(kept[0], kept[1], rows.held_out, rows.form, alike=alike)
    return {"sides": sides, **found}


def _record(
    found: Comparison, rows: _Rows, data: Any, train: Any | None, seed: int
) -> dict[str, Any]:
    """The record of the comparison, as `sentune.report.page` reads it."""
    counts = {"test": len(rows.held_out), "train": 0 if rows.train is None else len(rows.train)}
    return {
        "version": 1,
        "kind": "evaluate",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": _command(found, data, train),
        "seed": seed,
        "environment": {
            **run_file.versions(),
            "python": platform.python_version(),
            **facts.hardware(),
        },
        "data": {
            "source": [source for one in (data, train) for source in _sources(one)],
            "form": rows.form.name,
            "rows": {**counts, "dev": 0, "dropped": 0},
            "notes": list(found.notes),
        },
        "task": {"metric": found.metric, "explanation": found.explanation, "part": "test"},
        "models": [dict(vars(model)) for model in found.models],
        "differences": [one.to_dict() for one in found.differences],
        "settings": {"seed": seed},
        "log": list(found.notes),
    }


def _sources(data: Any) -> list[dict[str, Any]]:
    """Name and hash of each file; of rows in memory, neither."""
    if data is None:
        return []
    places = data if isinstance(data, (list, tuple)) else [data]
    names = [str(place) for place in places if isinstance(place, (str, Path))]
    return [
        {"name": name, "sha256": run_file.hash_of(name) if Path(name).exists() else None}
        for name in names
    ]


def _command(found: Comparison, data: Any, train: Any | None) -> str:
    words = [
        "sentune",
        "evaluate",
        *(model.path for model in found.models),
        "--data",
        _source(data),
    ]
    return shlex.join([*words, *(["--train", _source(train)] if train is not None else [])])
