"""Labels that are likely wrong: they contradict what the other rows say about such texts.

Each row is judged by what was learned from the rows of other folds, so that its own label does not
speak for itself; near duplicates are in one fold.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sentune.data import forms
from sentune.data.forms import Form
from sentune.workbench.inspection.hits import Hits
from sentune.workbench.inspection.meaning import Meaning
from sentune.workbench.inspection.table import Table
from sentune.workbench.rows.duplicates import normalised

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FOLDS = 10
_LEAST_ROWS = 50  # fewer do not show what is usual
_MOST_CLASSES = 500
_SHRINK = (0.3, 0.8)  # of the covariance of the classes, towards a sphere
_TEMPERATURES = np.geomspace(0.5, 200, 40)
_NOISE = 0.01  # share of wrong labels that is assumed; estimates of it vary much
_CERTAIN = 0.3  # probability that a label is wrong
_CERTAIN_OF_PAIRS = 0.9  # the same of pairs, in which embeddings miss negations and opposites
_ROUNDS = 2
_UNUSUAL = 2.5  # standard deviations from which on a score has no say
_SPREAD = 2.65  # standard deviations of the others that a score may be off
_RIDGE = 300.0
_RANDOM = 200  # pairs of a text with others that are compared
_SEED = 3
_NEGATIONS = frozenset("no not never nobody none nothing without".split())


def wrong_labels(table: Table) -> Hits:
    """Rows whose label, score or positive does not go with what the model makes of the texts."""
    find = _BY_FORM.get(table.form) if table.form else None
    if table.meaning is None or find is None or len(table.meaning.rows) < _LEAST_ROWS:
        return Hits()
    return find(table)


def _seen(table: Table) -> Meaning:
    assert table.meaning is not None
    return table.meaning


def _labels(table: Table) -> Floats:
    assert table.labels is not None
    return table.labels


def _of_texts(table: Table) -> Hits:
    return _classes(table, _seen(table).columns()[0].astype(np.float64), _CERTAIN)


def _of_pairs(table: Table) -> Hits:
    return _classes(table, _features(table), _CERTAIN_OF_PAIRS)


def _classes(table: Table, features: Floats, certain: float) -> Hits:
    """Rows whose class is implausible: a random class is the better explanation."""
    rows = _seen(table).rows
    values, classes = np.unique(_labels(table)[rows], return_inverse=True)
    if not 1 < len(values) <= _MOST_CLASSES:
        return Hits()
    folds = _folds(table)
    scores = np.zeros((len(rows), len(values)))
    for shrink in _SHRINK:
        found = _discriminant(features, classes, folds, len(values), shrink)
        scores += _log_shares(found, classes)
    doubt = _doubt(scores, classes)
    counts = np.bincount(classes)
    places = np.flatnonzero((doubt > certain) & (counts[classes] > 2))
    near = scores.argmax(1)
    places = places[near[places] != classes[places]]
    notes = [f"looks like {table.label_words(values[near[place]])}" for place in places]
    return _found(rows, places, notes, doubt)


def _found(rows: Integers, places: Integers, notes: list[str], weight: Floats) -> Hits:
    order = np.argsort(-weight[places], kind="stable").tolist()
    return Hits(rows[places].tolist(), notes, [-1] * len(places), order)


def _folds(table: Table) -> Integers:
    groups = table.groups(table.near)[_seen(table).rows]
    inverse = np.unique(groups, return_inverse=True)[1]
    return np.random.default_rng(_SEED).integers(0, _FOLDS, inverse.max(initial=0) + 1)[inverse]


def _discriminant(
    features: Floats, classes: Integers, folds: Integers, count: int, shrink: float
) -> Floats:
    """Linear discriminant scores of the rows of each fold, `(rows, classes)`.

    Classes are Gaussians of one covariance (Fisher 1936), shrunk towards a sphere.
    """
    scores = np.zeros((len(features), count))
    size = features.shape[1]
    for fold in range(_FOLDS):
        is_seen = folds != fold
        rows, known = features[is_seen], classes[is_seen]
        if not len(rows) or is_seen.all():
            continue
        counts = np.bincount(known, minlength=count)
        means = np.zeros((count, size))
        np.add.at(means, known, rows)
        means /= np.maximum(counts, 1)[:, None]
        apart = rows - means[known]
        covariance = apart.T @ apart / len(rows)
        sphere = np.trace(covariance) / size + 1e-9
        covariance = (1 - shrink) * covariance + shrink * sphere * np.eye(size)
        weights = np.linalg.solve(covariance, means.T)
        bias = np.log(np.maximum(counts, 0.5)) - 0.5 * np.einsum("cd,dc->c", means, weights)
        scores[~is_seen] = features[~is_seen] @ weights + bias
    return scores


def _log_shares(scores: Floats, classes: Integers) -> Floats:
    """Logarithms of the probabilities of the classes, at the temperature that fits the labels."""
    return max(
        (_with_temperature(scores, classes, temperature) for temperature in _TEMPERATURES),
        key=lambda found: found[0],
    )[1]


def _with_temperature(
    scores: Floats, classes: Integers, temperature: float
) -> tuple[float, Floats]:
    shares = scores / temperature
    shares -= shares.max(1, keepdims=True)
    shares -= np.log(np.exp(shares).sum(1, keepdims=True))
    own = np.exp(shares[np.arange(len(classes)), classes])
    return float(np.log((1 - _NOISE) * own + _NOISE / scores.shape[1]).sum()), shares


def _doubt(scores: Floats, classes: Integers) -> Floats:
    """`(rows,)`: the probability that a label was drawn at random, if one in a hundred was."""
    shares = _log_shares(scores, classes)
    own = np.exp(shares[np.arange(len(classes)), classes])
    drawn = _NOISE / scores.shape[1]
    return drawn / ((1 - _NOISE) * own + drawn)


def _scores(table: Table) -> Hits:
    """Rows whose score is far from what rows with such texts have."""
    rows = _seen(table).rows
    labels = _labels(table)[rows]
    features, folds = _features(table), _folds(table)
    is_usual = np.ones(len(rows), np.bool_)
    for _ in range(_ROUNDS):  # what is far off has no say in what is usual
        expected = _ridge(features, labels, folds, is_usual)
        off = np.abs(labels - np.clip(expected, labels.min(), labels.max()))
        is_usual = off <= _UNUSUAL * np.sqrt(np.mean(off**2))
    size = off / max(float(np.sqrt(np.mean(off[is_usual] ** 2))), 1e-9)
    places = np.flatnonzero(size > _SPREAD)
    notes = [f"pairs like it have about {expected[place]:.2g}" for place in places]
    return _found(rows, places, notes, size)


def _ridge(
    features: Floats, labels: Floats, folds: Integers, is_usual: NDArray[np.bool_]
) -> Floats:
    """What a linear model learned from the usual rows of the other folds says of each row."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    expected = np.full(len(labels), labels.mean())
    for fold in range(_FOLDS):
        is_seen = (folds != fold) & is_usual
        if not is_seen.any():
            continue
        rows, middle = features[is_seen], labels[is_seen].mean()
        square = rows.T @ rows + _RIDGE * np.eye(features.shape[1])
        weights = np.linalg.solve(square, rows.T @ (labels[is_seen] - middle))
        expected[folds == fold] = features[folds == fold] @ weights + middle
    return expected


def _features(table: Table) -> Floats:
    """What may say how the two texts of each row belong together, `(rows, features)`."""
    one, two = (rows.astype(np.float64) for rows in _seen(table).columns()[:2])
    cosine = (one * two).sum(1)
    words = np.array(
        [_overlap(table.texts[0][row], table.texts[1][row]) for row in _seen(table).rows]
    )
    few = np.c_[cosine, cosine**2, cosine**3, words]
    first, second = np.triu_indices(few.shape[1])
    return np.c_[few, few[:, first] * few[:, second], one * two, np.abs(one - two)]


def _overlap(one: str, two: str) -> list[float]:
    """How much two texts have in common as letters."""
    left, right = normalised(one).split(), normalised(two).split()
    pieces = [_pieces(" ".join(words)) for words in (left, right)]
    pairs = [{*zip(words, words[1:], strict=False)} for words in (left, right)]
    numbers = [{w for w in words if any(map(str.isdigit, w))} for words in (left, right)]
    sizes = len(left), len(right)
    return [
        _share({*left}, {*right}),
        len({*left} & {*right}) / max(1, min(len({*left}), len({*right}))),
        _share(*pairs),
        _share(*pieces),
        float(np.log1p(sum(sizes))),
        abs(sizes[0] - sizes[1]) / max(1, *sizes),
        float(numbers[0] != numbers[1]),
        float(bool(_NEGATIONS & {*left}) != bool(_NEGATIONS & {*right})),
    ]


def _pieces(text: str) -> set[str]:
    return {text[at : at + 4] for at in range(len(text) - 3)}


def _share(one: set, two: set) -> float:
    return len(one & two) / max(1, len(one | two))


def _positives(table: Table) -> Hits:
    """Rows whose positive is no nearer to the anchor than most other positives are."""
    anchors, positives = _seen(table).columns()[:2]
    own = (anchors * positives).sum(1)
    random = np.random.default_rng(_SEED)
    drawn = random.choice(len(positives), min(_RANDOM, len(positives)), replace=False)
    others = anchors @ positives[drawn].T  # (rows, drawn)
    above = (others >= own[:, None] - 1e-6).mean(1)
    places = np.flatnonzero(above >= 0.5)
    notes = [
        f"cosine {own[place]:.2f}: {above[place]:.0%} of other positives are nearer"
        for place in places
    ]
    return _found(_seen(table).rows, places, notes, above)


_BY_FORM: dict[Form, Callable[[Table], Hits]] = {
    forms.TEXT_AND_CLASS: _of_texts,
    forms.PAIR_AND_CLASS: _of_pairs,
    forms.PAIR_AND_MATCH: _of_pairs,
    forms.PAIR_AND_SCORE: _scores,
    forms.PAIR: _positives,
    forms.TRIPLET: _positives,
    forms.NEGATIVES: _positives,
}
