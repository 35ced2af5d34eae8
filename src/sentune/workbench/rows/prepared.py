"""The rows of a run: read, of a known form, and in parts to train on, choose by and test with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentune._lazy import need
from sentune.data import forms
from sentune.data.columns import Cells, class_names, input_columns, label_column, portions
from sentune.data.forms import Form
from sentune.data.given import is_place, several_of
from sentune.data.given import rows_of as given_rows
from sentune.data.profile import profile
from sentune.data.read import places
from sentune.data.sources import own_part
from sentune.errors import DatasetError, SettingError
from sentune.losses.fitting import advice
from sentune.workbench.rows import forms_turned
from sentune.workbench.rows.alike import alike_by_name
from sentune.workbench.rows.classes import aligned
from sentune.workbench.rows.duplicates import normalised
from sentune.workbench.rows.split import Split, near_any, samples_of, split
from sentune.workbench.settings import Settings

_SHARES = {"dev": 0.1, "test": 0.1}
_WANTED = 500  # held-out rows of a part, if that is at most `_MOST` of all rows
_MOST = 0.2
# A gain of 0.015 is above chance on so many rows, where rows differ as they usually do (a standard
# deviation of 0.3): more would cost time in every look and show hardly more.
_ENOUGH = 5000
TRAIN_AT_LEAST = 16
_IN_COMPANY = 0.2  # share of the texts that have another one of their class, at least
_OWN_PARTS = {"train": "train", "dev": "validation", "test": "test"}
_SCORE_NAMES = ("score", "scores")


@dataclass(frozen=True)
class Parts:
    """The rows of a run.

    Attributes:
        form: Of all rows.
        whole: All rows that are not from files of held-out rows, before they were split.
        rows: Part ("train", "dev", "test") -> rows; without "test" if none is to be touched.
        groups: Part -> a number for each row; those that share a text have the same.
        dropped: Rows that are in no part.
        notes: What was done to the rows, in sentences.
        given: Names of the parts whose rows are from files of their own.
    """

    form: Form
    whole: Any
    rows: Mapping[str, Any]
    groups: Mapping[str, Any]
    dropped: int
    notes: list[str]
    given: tuple[str, ...] = ()


def rows_of(data: Any, settings: Settings) -> Any:
    """The rows of a source or of what is in memory, as a `datasets.Dataset`."""
    return given_rows(data, settings.split, **_reading(settings))


def datasets_of(data: Any, settings: Settings) -> list[Any]:
    """The same, one dataset for each set of columns that the data have."""
    return several_of(data, settings.split, **_reading(settings))


def _reading(settings: Settings) -> dict[str, Any]:
    """How data are read."""
    options: dict[str, Any] = {
        "columns": settings.columns,
        "label": settings.label,
        "skip_bad_rows": settings.skip_bad_rows,
        "format": settings.data_format,
        "encoding": settings.encoding,
    }
    return {name: value for name, value in options.items() if value is not None}


def rows_of_part(
    data: Any, part: str, settings: Settings, read: Callable[[Any, Settings], Any] = rows_of
) -> Any:
    """The rows of a second source; with `datasets_of` to read them, those of several.

    Of a source with several parts these are those of its own name, as "test"; else of the part
    that is asked for of the first source.
    """
    # The file of bad rows is that of the first source, as is a range of rows, train[:1000].
    own = replace(settings, skip_bad_rows=bool(settings.skip_bad_rows) or None)
    if not is_place(data) and not isinstance(data, (list, tuple)):
        own = replace(own, data_format=None, encoding=None)  # of the files of training rows
    whole = settings.split.partition("[")[0]
    return own_part(lambda split: read(data, replace(own, split=split)), _OWN_PARTS[part], whole)


def parts_of(
    data: Any, held_out: Mapping[str, Any], settings: Settings, *, is_trained_on: bool = True
) -> Parts:
    """Rows in parts.

    Args:
        data: What is split; see `rows_of`.
        held_out: "dev" or "test" -> rows that are there already.
        settings: Of the run.
        is_trained_on: Whether rows with a text of a held-out row are to go.

    Raises:
        DatasetError: If the rows have no form that can be trained on, or are too few.
    """
    own = {name: rows_of_part(part, name, settings) for name, part in held_out.items()}
    return in_parts(rows_of(data, settings), own, settings, is_trained_on=is_trained_on)


def in_parts(
    whole: Any, held_out: Mapping[str, Any], settings: Settings, *, is_trained_on: bool = True
) -> Parts:
    """As `parts_of`, of rows that are read already: each a `datasets.Dataset`."""
    notes = list(places(whole).notes)
    form = form_of(whole)
    own = {name: aligned(part, whole)[0] for name, part in held_out.items()}
    whole = _simple(whole, form, notes)
    for name, rows in own.items():
        own[name] = _same_form(rows, form, name, notes)
    if is_trained_on and "dev" in own:
        own["dev"] = _enough(own["dev"], settings.seed, notes)
    if is_trained_on and own:
        before = len(whole)
        whole = without_held_out(whole, list(own.values()), notes)
        if len(whole) < TRAIN_AT_LEAST:
            raise DatasetError(
                f"only {len(whole)} of {before:,} rows are left to train on, since the texts of "
                f"the others are in the held-out rows ({', '.join(own)}), and at least "
                f"{TRAIN_AT_LEAST} are needed; give training rows that are not held out"
            )
    shares = _shares(settings, len(whole), own)
    texts = _texts(whole)
    if not shares:
        groups = {name: samples_of(_texts(rows)) for name, rows in own.items()}
        return Parts(form, whole, {"train": whole, **own}, groups, 0, notes, tuple(own))
    found = split(texts, _labels(whole), shares, settings.seed)
    return _cut(whole, found, own, form, notes)


def form_of(rows: Any) -> Form:
    """The form of some rows; a `DatasetError` says what to do if they have none."""
    found = profile(rows)
    label = found.kind
    is_named_score = found.label is not None and found.label.name in _SCORE_NAMES
    if is_named_score and label.kind in ("class", "binary"):
        label = forms.Label("score")  # whole numbers that are scores, as 0 to 5
    advised = forms.advised(len(found.inputs), label)
    advised = [form for form in advised if form is not forms.DAMAGED_TEXT]
    if not advised:
        raise DatasetError(
            f"the data have {found.words}: {advice(found)}. Choose columns with --columns and the "
            "label with --label"
        )
    return advised[0]


def _simple(rows: Any, form: Form, notes: list[str]) -> Any:
    """Rows as the losses want them: complete, scores from 0 to 1, single texts as pairs."""
    rows = complete(rows, notes)
    if form is forms.PAIR_AND_SCORE:
        rows = _scaled(rows, notes)
    if form is forms.PAIR_AND_MATCH:
        rows = one_is_alike(rows, notes)
    if form is forms.TEXT_AND_CLASS:
        _check_classes(rows)
    return rows


def _check_classes(rows: Any) -> None:
    """Raise if classes do not say which texts belong together."""
    name = str(label_column(rows.column_names))
    sizes = Counter(Cells(rows, name))
    if len(sizes) < 2:
        raise DatasetError(
            f"all texts have the label {next(iter(sizes), None)}; there is nothing to tell "
            "apart: give texts of at least two classes"
        )
    in_company = sum(size for size in sizes.values() if size > 1)
    if in_company < _IN_COMPANY * len(rows):
        raise DatasetError(
            f"column {name!r} has {len(sizes):,} different values in {len(rows):,} rows, so hardly "
            "any two texts are of one class; name the column with the classes by --label, or the "
            "columns with texts by --columns"
        )


def complete(rows: Any, notes: list[str]) -> Any:
    """Rows without those that have an empty text or label."""
    names, label = input_columns(rows.column_names), label_column(rows.column_names)
    found = [_is_whole(portion, names, label) for portion in portions(rows)]
    is_whole = np.concatenate(found) if found else np.zeros(0, bool)
    if is_whole.all():
        return rows
    notes.append(f"{int((~is_whole).sum()):,} rows with an empty text or label are left out")
    if not is_whole.any():
        raise DatasetError("every row has an empty text or label")
    return rows.select(np.flatnonzero(is_whole))


def _is_whole(
    portion: Mapping[str, list[Any]], names: Sequence[str], label: str | None
) -> NDArray[np.bool_]:
    """Which rows have texts and a label `(b,)`."""
    found = np.ones(len(portion[names[0]]), bool)
    for name in names:
        _check_texts(portion[name], name)
        found &= [isinstance(text, str) and bool(text.strip()) for text in portion[name]]
    if label is not None:
        found &= [value is not None and value == value for value in portion[label]]
    return found


def _check_texts(cells: Sequence[Any], name: str) -> None:
    """Raise if a column that is to hold texts holds something else."""
    other = next((cell for cell in cells if not isinstance(cell, str | None)), None)
    if other is not None:
        raise DatasetError(
            f"column {name!r} holds {type(other).__name__} values as {other!r}, not texts; name "
            "the columns with texts by --columns, and the one with labels by --label"
        )


def _scaled(rows: Any, notes: list[str]) -> Any:
    """Scores between 0 and 1."""
    datasets = need("datasets", extra="train")
    label = str(label_column(rows.column_names))
    scores = np.fromiter(Cells(rows, label), float, len(rows))
    low, high = min(0.0, scores.min()), max(1.0, scores.max())
    if scores.min() == scores.max():
        raise DatasetError(f"all pairs have the score {scores.min():g}; there is nothing to learn")
    if (low, high) != (0.0, 1.0):
        notes.append(f"scores from {low:g} to {high:g} are brought to 0 to 1")
        scores = (scores - low) / (high - low)
    rows = rows.remove_columns([label])
    made = datasets.Dataset.from_dict({"score": scores.tolist()})
    return datasets.concatenate_datasets([rows, made], axis=1)


def one_is_alike(rows: Any, notes: list[str]) -> Any:
    """Pairs with two classes of which the one that says that both are alike is 1."""
    datasets = need("datasets", extra="train")
    label = str(label_column(rows.column_names))
    names = class_names(rows)
    if names is None or len(names) != 2 or alike_by_name(names) != 0:
        return rows
    notes.append(f"{names[0]!r} is label 1, since it says that the texts are alike; {names[1]!r} 0")
    numbers = [1 - number for number in Cells(rows, label)]
    order = rows.column_names
    feature = datasets.ClassLabel(names=names[::-1])
    changed = rows.remove_columns([label]).add_column(label, numbers, feature=feature)
    return changed.select_columns(order)


def without_held_out(rows: Any, held_out: list[Any], notes: list[str], most: float = _MOST) -> Any:
    """Training rows without those that have a text of a held-out row, or a near duplicate of one.

    A column whose texts come again and again, as the answers of many questions, would take more
    than a share of all rows: these go only if all of their texts are those of a held-out row.
    """
    asked = list({text: None for part in held_out for column in _texts(part) for text in column})
    if not asked:
        return rows
    columns = _texts(rows)
    is_asked = [near_any(column, asked) for column in columns]
    whole = {
        tuple(map(normalised, row)) for part in held_out for row in zip(*_texts(part), strict=True)
    }
    found = (tuple(map(normalised, row)) in whole for row in zip(*columns, strict=True))
    left_out = np.fromiter(found, bool, len(rows))
    for column in is_asked:
        if column.mean() <= most:
            left_out |= column
    stay = int((np.any(is_asked, axis=0) & ~left_out).sum())
    if left_out.any():
        notes.append(
            f"{_rows(left_out.sum())} left out, since texts of them, or near duplicates, are in "
            "held-out rows"
        )
    if stay:
        notes.append(
            f"{stay:,} training rows stay that have a text of a held-out row: these are so many "
            "that too few would be left; figures say little about new texts of that column"
        )
    return rows.select(np.flatnonzero(~left_out)) if left_out.any() else rows


def _rows(count: int) -> str:
    return "1 training row is" if count == 1 else f"{count:,} training rows are"


def _same_form(rows: Any, form: Form, name: str, notes: list[str]) -> Any:
    found = form_of(rows)
    if found is not form:
        raise DatasetError(
            f"the rows to {'test with' if name == 'test' else 'choose by'} have the form "
            f"{found.name!r}, and the training rows {form.name!r}; give rows of the same form"
        )
    return _simple(rows, form, notes)


def _enough(rows: Any, seed: int, notes: list[str]) -> Any:
    """As many rows as are worth looking at again and again while choosing."""
    if len(rows) <= _ENOUGH:
        return rows
    notes.append(f"{_ENOUGH:,} of {len(rows):,} rows are used to choose by, drawn at random")
    return rows.select(np.sort(np.random.default_rng(seed).permutation(len(rows))[:_ENOUGH]))


def _shares(settings: Settings, count: int, own: Mapping[str, Any]) -> dict[str, float]:
    """Which share of the rows is held out for each part that has no file of its own."""
    asked = {"dev": settings.dev_share, "test": settings.test_share}
    found = {}
    for name, usual in _SHARES.items():
        if name in own or asked[name] == 0:
            continue
        enough = min(_ENOUGH / count, max(usual, min(_WANTED / count, _MOST)))
        found[name] = asked[name] or enough
    if sum(found.values()) >= 1:
        raise SettingError(
            f"dev_share={found['dev']:g} and test_share={found['test']:g} leave nothing to train "
            "on; give shares (--dev-share, --test-share) that are less than 1 together"
        )
    return found


def _cut(whole: Any, found: Split, own: Mapping[str, Any], form: Form, notes: list[str]) -> Parts:
    rows = {name: whole.select(places) for name, places in found.parts.items()}
    groups = {name: found.groups[places] for name, places in found.parts.items()}
    groups |= {name: samples_of(_texts(part)) for name, part in own.items()}
    if len(rows["train"]) < TRAIN_AT_LEAST:
        raise DatasetError(
            f"only {len(rows['train'])} of {len(whole)} rows are left to train on, and at least "
            f"{TRAIN_AT_LEAST} are needed; give more rows, or held-out rows in files of their own"
        )
    if len(found.dropped):
        notes.append(
            f"{len(found.dropped):,} rows share texts with both the training and the held-out rows "
            "and are left out"
        )
    return Parts(form, whole, {**rows, **own}, groups, len(found.dropped), notes, tuple(own))


def _texts(rows: Any) -> list[Cells]:
    return [Cells(rows, name) for name in input_columns(rows.column_names)]


def _labels(rows: Any) -> list[Any] | None:
    name = label_column(rows.column_names)
    return None if name is None else list(Cells(rows, name))


def halves_of(rows: Any) -> tuple[Any, np.ndarray]:
    """Held-out single texts as pairs of their halves, and which texts these are.

    To find the second half by the first is what can be measured of texts without labels.
    """
    datasets = need("datasets", extra="train")
    texts = Cells(rows, input_columns(rows.column_names)[0])
    pairs = [
        (place, parts) for place, text in enumerate(texts) if (parts := forms_turned.half(text))
    ]
    if not pairs:
        raise DatasetError(
            "single texts without labels: nothing says which belong together, and they are too "
            "short to take their halves for pairs (12 words or two sentences). Give pairs, texts "
            "with a class, or held-out rows of such a form"
        )
    columns = {
        "anchor": [parts[0] for _, parts in pairs],
        "positive": [parts[1] for _, parts in pairs],
    }
    return datasets.Dataset.from_dict(columns), np.array([place for place, _ in pairs])
