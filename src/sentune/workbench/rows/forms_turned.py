"""Data turned into another form, where a loss learns more from it.

A turn gets the training rows and the model before training, and gives a `datasets.Dataset`. The
same rows, model and seed give the same rows.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentune._lazy import need
from sentune.checks import nearest
from sentune.data import forms
from sentune.data.columns import input_columns
from sentune.data.forms import Form
from sentune.errors import DatasetError, SettingError
from sentune.types import Encoder
from sentune.workbench.rows.alike import alike_class, order_of_classes
from sentune.workbench.rows.columns import Rows

AS_IT_IS = "the rows as they are"
PAIRS_OF_A_CLASS = "pairs of a class"
HIGH_PAIRS = "pairs with a high score"
MATCHES = "pairs that match"
TRIPLETS_OF_CLASSES = "triplets of the classes"
GRADES = "classes as scores"
MINED = "pairs with mined negatives"
HALVES = "halves of each text"
TWICE = "each text twice"

_FEWEST = 8  # rows that are worth a run
_LEAST = 1000  # rows that are read, whatever the budget
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")


Turn = Callable[..., dict[str, list[Any]]]


def turned(
    name: str, dataset: Any, model: Encoder, seed: int, most: int | None = None, **settings: Any
) -> Any:
    """A dataset of another form.

    Args:
        name: A name in `TURNS`, or `AS_IT_IS`.
        dataset: A `datasets.Dataset` of a form that the turn reads.
        model: The model before training.
        seed: Of what is drawn at random.
        most: Rows that are turned, at most, drawn at random; None for all.
        **settings: Of the turn.

    Raises:
        DatasetError: If too few rows are left of it.
        SettingError: If a setting is unknown.
    """
    if most is not None and (not isinstance(most, int) or most < 1):
        raise SettingError(f"most must be a whole number of at least 1, got {most!r}")
    if most is not None and len(dataset) > most:
        chosen = np.random.default_rng(seed).permutation(len(dataset))[:most]
        dataset = dataset.select(np.sort(chosen))
    if name == AS_IT_IS:
        return dataset
    try:
        columns = TURNS[name].make(Rows.of(dataset), model, np.random.default_rng(seed), **settings)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise SettingError(f"data_settings={settings} has what {name!r} does not take") from error
    rows = len(next(iter(columns.values()), ()))
    if rows < _FEWEST:
        raise DatasetError(f"{name}: only {rows} rows could be made, at least {_FEWEST} are needed")
    return need("datasets", extra="train").Dataset.from_dict(columns)


def within(
    name: str, dataset: Any, texts: float | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings of a turn with which it makes no more rows than can be trained on.

    A turn that encodes every text would take hours for a million rows, whatever the budget. What it
    reads is said in its settings, so that a run file of it gives the same rows again.

    Args:
        name: As for `turned`.
        dataset: Likewise.
        texts: That may be trained on, all together; None for any number.
        settings: Of the turn; `most` stays if it is there.
    """
    if texts is None or name == AS_IT_IS or not TURNS[name].encodes:
        return dict(settings)
    width = len(input_columns(dataset.column_names))
    most = max(_LEAST, math.ceil(texts / width))
    return dict(settings) if most >= len(dataset) else {"most": most, **settings}


def turns_of(form: Form) -> tuple[str, ...]:
    """The turns that read a form."""
    return tuple(name for name, turn in TURNS.items() if turn.before is form)


def form_after(name: str, form: Form) -> Form:
    """The form that a turn makes of another one."""
    return form if name == AS_IT_IS else TURNS[name].after


def check(name: str, form: Form) -> None:
    """Raise a `SettingError` if there is no such turn for data of a form."""
    allowed = (AS_IT_IS, *turns_of(form))
    if name not in allowed:
        near = nearest(name, allowed) or f"; there are {', '.join(allowed)}"
        raise SettingError(f"data of the form {form.name!r} cannot be used as {name!r}{near}")


# Classes ------------------------------------------------------------------------------------------


def pairs_of_a_class(rows: Rows, model: Encoder, rng: Any) -> dict[str, list[Any]]:
    """Each text once as an anchor, with another text of its class that is not the same text."""
    (texts,) = rows.texts
    members = defaultdict(list)
    for row, label in enumerate(rows.labels or ()):
        members[label].append(row)
    partner: dict[int, int] = {}
    for of_class in members.values():
        order = [of_class[place] for place in rng.permutation(len(of_class))]
        partner |= dict(zip(order, [*order[1:], order[0]], strict=True))  # a ring
    kept = [(row, other) for row, other in sorted(partner.items()) if texts[row] != texts[other]]
    return {
        "anchor": [texts[row] for row, _ in kept],
        "positive": [texts[other] for _, other in kept],
    }


def triplets_of_classes(rows: Rows, model: Encoder, rng: Any) -> dict[str, list[Any]]:
    """The pairs of the class that means "alike", each with a negative.

    The negative is a text that is in a pair of another class with the same anchor, the most similar
    one; else the text most similar to the anchor of those that stand in no such pair with it.
    """
    first, second = rows.texts
    alike = alike_class(rows.texts, rows.labels, rows.names, model)
    is_alike = [label == alike for label in rows.labels or ()]
    partners: dict[str, set[str]] = defaultdict(set)
    opposed: dict[str, set[str]] = defaultdict(set)
    for one, other, match in zip(first, second, is_alike, strict=True):
        for anchor, text in ((one, other), (other, one)):
            (partners if match else opposed)[anchor].add(text)
    table = _Nearest(model, [*first, *second])
    found: dict[str, list[Any]] = {"anchor": [], "positive": [], "negative": []}
    for one, other, match in zip(first, second, is_alike, strict=True):
        if not match or one == other:
            continue
        near = partners[one] | partners[other] | {one, other}
        choice = sorted((opposed[one] | opposed[other]) - near)
        negative = table.best(one, choice) if choice else table.nearest(one, near)
        if negative is not None:
            for name, text in zip(found, (one, other, negative), strict=True):
                found[name].append(text)
    return found


def grades(rows: Rows, model: Encoder, rng: Any) -> dict[str, list[Any]]:
    """Pairs with a score in place of the class: equal steps from 0 (least alike) to 1."""
    order = order_of_classes(rows.texts, rows.labels, rows.names, model)
    steps = max(len(order) - 1, 1)
    score = {label: place / steps for place, label in enumerate(order)}
    names = ("sentence1", "sentence2")
    return {
        **dict(zip(names, rows.texts, strict=True)),
        "score": [score[label] for label in rows.labels or ()],
    }


# Pairs --------------------------------------------------------------------------------------------


def high_pairs(
    rows: Rows, model: Encoder, rng: Any, threshold: float = 0.8
) -> dict[str, list[Any]]:
    """The pairs whose score is in the upper part of the range; `threshold` is a share of it."""
    scores = np.asarray(rows.labels, dtype=float)
    low, high = min(scores.min(), 0.0), scores.max()
    return _pairs(rows, scores >= low + threshold * (high - low))


def matches(rows: Rows, model: Encoder, rng: Any) -> dict[str, list[Any]]:
    """The pairs with label 1."""
    return _pairs(rows, np.asarray(rows.labels) == 1)


def _pairs(rows: Rows, kept: np.ndarray) -> dict[str, list[Any]]:
    first, second = rows.texts
    places = [row for row in np.flatnonzero(kept) if first[row] != second[row]]
    return {
        "anchor": [first[row] for row in places],
        "positive": [second[row] for row in places],
    }


def mined(
    rows: Rows,
    model: Encoder,
    rng: Any,
    negatives: int = 1,
    relative_margin: float = 0.05,
    max_score: float | None = None,
) -> dict[str, list[Any]]:
    """Pairs with the nearest texts that score below the positive by a margin, as negatives."""
    from sentune.search import mine_hard_negatives

    datasets = need("datasets", extra="train")
    pairs = datasets.Dataset.from_dict(dict(zip(("anchor", "positive"), rows.texts, strict=True)))
    found = mine_hard_negatives(
        pairs,
        model,
        num_negatives=negatives,
        relative_margin=relative_margin,
        max_score=max_score,
        output_format="triplet" if negatives == 1 else "n-tuple",
        verbose=False,
    )
    return {name: list(found[name]) for name in found.column_names}


# Single texts -------------------------------------------------------------------------------------


def halves(rows: Rows, model: Encoder, rng: Any) -> dict[str, list[Any]]:
    """Texts of several sentences, or of 12 words and more, in two parts of about equal length."""
    found = [parts for text in rows.texts[0] if (parts := half(text)) is not None]
    return {"anchor": [one for one, _ in found], "positive": [other for _, other in found]}


def half(text: str) -> tuple[str, str] | None:
    """The two halves of a text, split between sentences if it has several; None if too short."""
    sentences = [part for part in _SENTENCE_END.split(text.strip()) if part]
    if len(sentences) > 1:
        ends = np.cumsum([len(part) for part in sentences])
        cut = 1 + int(np.abs(ends[:-1] - ends[-1] / 2).argmin())
        return " ".join(sentences[:cut]), " ".join(sentences[cut:])
    words = text.split()
    if len(words) < 12:
        return None
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


def twice(rows: Rows, model: Encoder, rng: Any) -> dict[str, list[Any]]:
    """Each text twice: dropout makes two embeddings of it (SimCSE, arXiv 2104.08821)."""
    texts = list(dict.fromkeys(rows.texts[0]))
    return {"anchor": texts, "positive": list(texts)}


@dataclass(frozen=True)
class _Turn:
    before: Form
    after: Form
    make: Turn
    encodes: bool = False  # whether the model reads every text once


TURNS: Mapping[str, _Turn] = {
    PAIRS_OF_A_CLASS: _Turn(forms.TEXT_AND_CLASS, forms.PAIR, pairs_of_a_class),
    HIGH_PAIRS: _Turn(forms.PAIR_AND_SCORE, forms.PAIR, high_pairs),
    MATCHES: _Turn(forms.PAIR_AND_MATCH, forms.PAIR, matches),
    TRIPLETS_OF_CLASSES: _Turn(forms.PAIR_AND_CLASS, forms.TRIPLET, triplets_of_classes, True),
    GRADES: _Turn(forms.PAIR_AND_CLASS, forms.PAIR_AND_SCORE, grades, True),
    MINED: _Turn(forms.PAIR, forms.TRIPLET, mined, True),
    HALVES: _Turn(forms.TEXT, forms.PAIR, halves),
    TWICE: _Turn(forms.TEXT, forms.PAIR, twice),
}


class _Nearest:
    """Texts with their embeddings, to find those that are close to one of them."""

    def __init__(self, model: Encoder, texts: Sequence[str]) -> None:
        self.texts = sorted(set(texts))
        self.place = {text: row for row, text in enumerate(self.texts)}
        self.rows = _units(model, self.texts)  # (n, d)

    def best(self, anchor: str, choice: Sequence[str]) -> str:
        """The one of some texts that is closest."""
        places = [self.place[text] for text in choice]
        return choice[int((self.rows[places] @ self.rows[self.place[anchor]]).argmax())]

    def nearest(self, anchor: str, left_out: set[str]) -> str | None:
        """The closest of all others, or None if there are no others."""
        scores = self.rows @ self.rows[self.place[anchor]]
        scores[[self.place[text] for text in left_out]] = -np.inf
        best = int(scores.argmax())
        return self.texts[best] if np.isfinite(scores[best]) else None


def _units(model: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Embeddings of length 1, `(b, d)`."""
    found: np.ndarray = model.encode(
        list(texts), normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
    )
    return found
