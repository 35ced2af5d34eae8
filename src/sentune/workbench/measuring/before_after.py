"""What two models make of the same held-out texts, side by side, as plain values for a report.

Every text is encoded once by each model. Everything is sampled with a fixed seed, so that the same
models and rows give the same values.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from sentune.data.forms import PAIR_AND_MATCH, PAIR_AND_SCORE, TEXT_AND_CLASS, Form
from sentune.errors import DatasetError
from sentune.report.plain import shortened
from sentune.types import Encoder
from sentune.workbench.inspection.overview import spread
from sentune.workbench.measuring.pair_scores import (
    LABELLED_PAIRS,
    pairs_of,
    right_documents,
    scores,
)
from sentune.workbench.measuring.projection import flat
from sentune.workbench.measuring.searches import Search, ranks_of, shown
from sentune.workbench.measuring.sides import Sides
from sentune.workbench.rows.alike import alike_class
from sentune.workbench.rows.columns import Rows
from sentune.workbench.rows.roles import SEARCHES

ROWS = 2000  # held-out rows, at most
MAP_TEXTS = 2000  # on the map, at most
QUERIES = 8  # that improved, and as many that got worse
NEIGHBOURS = 6  # texts whose nearest are shown
HIGH = 0.8  # of the range of scores: from here on a pair is called alike
_WORDY = 600  # characters of a text that are kept


def compared(
    before: Encoder,
    after: Encoder,
    data: Any,
    form: Form,
    *,
    alike: int | None = None,
    rows: int = ROWS,
    seed: int = 12,
) -> dict[str, Any]:
    """Parts of the record of a run: "lengths", "scores", "queries", "neighbours" and "map".

    A part that a form does not have is left out: texts without labels are not searched for.

    Args:
        before: The model as it was.
        after: The model as it is now.
        data: Held-out rows, columns as a dict of lists or a `datasets.Dataset`.
        form: Of the rows.
        alike: For pairs with classes, the class of pairs that mean the same; None to take the one
            whose name says so, or else whose pairs are most similar before.
        rows: How many rows are looked at, at most.
        seed: For the choice of rows, pairs and texts.
    """
    held_out = Rows.of(data).sample(rows, seed)
    if not held_out.count or not held_out.columns:
        return {}
    random = np.random.default_rng(seed)
    sides = Sides.of(before, after, held_out, form)
    found: dict[str, Any] = {"lengths": _lengths(before, held_out)}
    groups = pairs_of(held_out, sides, form, random)
    if groups:
        found["scores"] = scores(groups, sides)
    search = _search(held_out, sides, form, alike)
    if search is not None and len(search.queries):
        found["queries"] = _changed(search, sides)
    found["neighbours"] = _neighbours(held_out, sides, random)
    found["map"] = _map(held_out, sides, form, random)
    return {name: part for name, part in found.items() if part}


# Lengths ------------------------------------------------------------------------------------------


def _lengths(model: Any, rows: Rows) -> dict[str, Any]:
    """For each column a histogram of the tokens of its texts, by the tokenizer of the model."""
    tokenizer = getattr(model, "tokenizer", None)
    if not callable(tokenizer):  # of a model without transformers
        return {}
    limit = getattr(model, "max_seq_length", None)
    found = {}
    for name, cells in rows.columns.items():
        ids = tokenizer(cells, truncation=False, verbose=False)["input_ids"]
        found[name] = spread(np.array([len(one) for one in ids], np.int64), limit)
    return found


# Queries, neighbours, map -------------------------------------------------------------------------


def _search(rows: Rows, sides: Sides, form: Form, alike: int | None) -> Search | None:
    """What is looked for with what: the second texts of rows, or texts of a class."""
    places = list(sides.places.values())
    if form.name == TEXT_AND_CLASS.name:
        classes = [rows.name_of(label) for label in cast(Any, rows.labels)]
        return Search.of_classes(places[0], classes)
    if form.name in SEARCHES and len(places) > 1:
        documents = np.concatenate(places[1:])
        return Search.of_pairs(places[0], right_documents(rows, places, form), documents)
    if form.name not in LABELLED_PAIRS:
        return None
    labels = np.asarray(rows.labels)
    if form.name == PAIR_AND_SCORE.name:
        is_right = labels >= labels.min() + HIGH * (labels.max() - labels.min())
    else:
        given = 1 if form.name == PAIR_AND_MATCH.name else alike
        is_right = labels == (_alike(rows, sides, labels) if given is None else given)
    return Search.of_pairs(places[0][is_right], places[1][is_right], places[1])


def _alike(rows: Rows, sides: Sides, labels: Any) -> int:
    """Which class is the one of pairs that mean the same."""
    try:
        return alike_class(list(rows.columns.values()), labels, rows.names, None)
    except DatasetError:  # no name says it
        first, second = (sides.before[place] for place in list(sides.places.values())[:2])
        cosines = (first * second).sum(axis=1)
        return int(max(np.unique(labels), key=lambda label: cosines[labels == label].mean()))


def _changed(search: Search, sides: Sides) -> dict[str, Any]:
    """The queries whose right text came up most, and those where it went down most."""
    ranks = [ranks_of(search, side) for side in sides.both]
    change = 1 / ranks[1] - 1 / ranks[0]
    # Of two that changed alike, the one that came the longer way.
    way = np.log2(ranks[0] / ranks[1])
    order = np.lexsort((-way, -change))
    better, worse = order[way[order] > 0], order[::-1][way[order[::-1]] < 0]
    return {
        "improved": [shown(search, sides, ranks, one, _WORDY) for one in better[:QUERIES]],
        "worse": [shown(search, sides, ranks, one, _WORDY) for one in worse[:QUERIES]],
        "searched": len(search.queries),
        "among": len(search.documents),
        "counts": {"improved": len(better), "worse": len(worse)},
    }


def _neighbours(rows: Rows, sides: Sides, random: np.random.Generator) -> list[dict[str, Any]]:
    """The nearest texts of a few chance ones."""
    first = np.unique(next(iter(sides.places.values())))
    chosen = np.sort(random.permutation(first)[:NEIGHBOURS])
    found = []
    for place in chosen:
        sides_of = {}
        for name, vectors in zip(("before", "after"), sides.both, strict=True):
            scores = vectors @ vectors[place]
            order = np.argsort(-scores, kind="stable")
            others = [one for one in order[:12] if sides.texts[one] != sides.texts[place]][:5]
            sides_of[name] = [
                {"text": shortened(sides.texts[one], _WORDY), "score": round(float(scores[one]), 4)}
                for one in others
            ]
        found.append({"text": shortened(sides.texts[place], _WORDY), **sides_of})
    return [one for one in found if one["before"]]


def _map(
    rows: Rows, sides: Sides, form: Form, random: np.random.Generator
) -> dict[str, Any] | None:
    """Places of a sample of the texts in a plane, by both models, in one frame."""
    groups = [""] * len(sides.texts)
    for name, places in sides.places.items():
        is_class = form.name == TEXT_AND_CLASS.name
        for row, place in enumerate(places):
            label = rows.name_of(cast(Any, rows.labels)[row]) if is_class else name
            groups[place] = groups[place] or label
    chosen = np.sort(random.permutation(len(sides.texts))[:MAP_TEXTS])
    if len(chosen) < 3:
        return None
    before, after = flat(sides.before[chosen], sides.after[chosen])
    is_told_apart = form.name in (TEXT_AND_CLASS.name, *SEARCHES)
    return {
        "before": np.round(before, 3).tolist(),
        "after": np.round(after, 3).tolist(),
        "texts": [shortened(sides.texts[place], _WORDY) for place in chosen],
        "groups": [groups[place] for place in chosen] if is_told_apart else [],
    }
