"""How similar two models find texts that belong together, and texts that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentune.data.forms import (
    PAIR_AND_CLASS,
    PAIR_AND_MATCH,
    PAIR_AND_SCORE,
    TEACHER_SCORES,
    TEXT_AND_CLASS,
    Form,
)
from sentune.workbench.measuring.sides import Sides
from sentune.workbench.rows.columns import Rows
from sentune.workbench.rows.roles import SEARCHES

Ints = NDArray[np.int64]

LABELLED_PAIRS = (PAIR_AND_SCORE.name, PAIR_AND_MATCH.name, PAIR_AND_CLASS.name)
_BINS = {2000: 40, 200: 25, 0: 12}  # pairs of a group, at least -> bins
_CHANCE_PAIRS = 40_000  # of texts with classes, at most

Pairs = tuple[Ints, Ints]  # places of the first and of the second texts


def pairs_of(rows: Rows, sides: Sides, form: Form, random: np.random.Generator) -> dict[str, Pairs]:
    """Groups of pairs of texts by name, those that belong together first."""
    places = list(sides.places.values())
    if form.name == TEXT_AND_CLASS.name:
        return _pairs_of_classes(places[0], np.asarray(rows.labels), random)
    if form.name in LABELLED_PAIRS:
        return _labelled_pairs(rows, places, form)
    if form.name not in SEARCHES or len(places) < 2:
        return {}
    first, right = places[0], right_documents(rows, places, form)
    if len(places) > 2:
        wrong = [_some(first, column, column != right) for column in places[1:]]
        far = np.concatenate([one for one, _ in wrong]), np.concatenate([two for _, two in wrong])
        return {"positives": (first, right), "negatives": far}
    shifted = np.roll(np.arange(len(first)), random.integers(1, max(2, len(first))))
    is_other = (right[shifted] != right) & (first[shifted] != first)
    return {
        "positives": (first, right),
        "negatives": (first[is_other], right[shifted][is_other]),
    }


def right_documents(rows: Rows, places: list[Ints], form: Form) -> Ints:
    """The place of each row's right document: the first, or the one with the highest score."""
    if form.name != TEACHER_SCORES.name:
        return places[1]
    best = np.asarray(rows.labels, np.float64).reshape(rows.count, -1).argmax(axis=1)
    return np.stack(places[1:], axis=1)[np.arange(rows.count), best]


def _pairs_of_classes(texts: Ints, labels: Any, random: np.random.Generator) -> dict[str, Pairs]:
    """Chance pairs of one class, and as many of two."""
    count = min(20 * len(texts), _CHANCE_PAIRS)
    first, second = random.integers(0, len(texts), (2, count))
    partner = _of_same_class(labels, first, random)
    is_pair = texts[partner] != texts[first]
    is_other = labels[first] != labels[second]
    return {
        "positives": (texts[first[is_pair]], texts[partner[is_pair]]),
        "negatives": (texts[first[is_other]], texts[second[is_other]]),
    }


def _of_same_class(labels: Any, rows: Ints, random: np.random.Generator) -> Ints:
    """For each row a chance row of its class."""
    _, number = np.unique(labels, return_inverse=True)
    order = np.argsort(number, kind="stable")
    sizes = np.bincount(number)
    starts = np.cumsum(sizes) - sizes
    own = number[rows]
    return order[starts[own] + (random.random(len(rows)) * sizes[own]).astype(np.int64)]


def _labelled_pairs(rows: Rows, places: list[Ints], form: Form) -> dict[str, Pairs]:
    first, second = places[0], places[1]
    labels = np.asarray(rows.labels)
    if form.name == PAIR_AND_CLASS.name:
        classes = np.unique(labels)
        names = {one: rows.name_of(one) for one in classes}
        return {
            f"label {name}" if name.isdigit() else name: _some(first, second, labels == one)
            for one, name in names.items()
        }
    if form.name == PAIR_AND_MATCH.name:
        return _both(first, second, labels == 1)
    low, high = labels.min(), labels.max()
    cut = high - (high - low) / 3, low + (high - low) / 3
    return {
        f"scored {cut[0]:.2g} and more": _some(first, second, labels >= cut[0]),
        f"scored {cut[1]:.2g} and less": _some(first, second, labels <= cut[1]),
    }


def _some(first: Ints, second: Ints, chosen: Any) -> Pairs:
    return first[chosen], second[chosen]


def _both(first: Ints, second: Ints, is_alike: Any) -> dict[str, Pairs]:
    return {
        "positives": _some(first, second, is_alike),
        "negatives": _some(first, second, ~is_alike),
    }


def scores(groups: Mapping[str, Pairs], sides: Sides) -> dict[str, Any]:
    """Histograms of the cosines of pairs, in the same bins for all, and their means."""
    cosines = {
        name: [(side[first] * side[second]).sum(axis=1) for side in sides.both]
        for name, (first, second) in groups.items()
        if len(first)
    }
    if not cosines:
        return {}
    low = min(float(values.min()) for pair in cosines.values() for values in pair)
    fewest = min(len(pair[0]) for pair in cosines.values())
    bins = next(bins for pairs, bins in _BINS.items() if fewest >= pairs)
    edges = np.linspace(max(-1.0, np.floor(low * 10) / 10), 1.0, bins + 1)
    counts = {
        name: [np.histogram(np.clip(values, edges[0], 1.0), edges)[0].tolist() for values in pair]
        for name, pair in cosines.items()
    }
    return {
        "edges": np.round(edges, 6).tolist(),
        "groups": {
            name: {**_sided(pair), "means": _sided([float(one.mean()) for one in cosines[name]])}
            for name, pair in counts.items()
        },
    }


def _sided(pair: Sequence[Any]) -> dict[str, Any]:
    before, after = pair
    return {"before": before, "after": after}
