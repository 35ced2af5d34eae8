"""What two models make of the same held-out texts, side by side, as plain values for a report.

Every text is encoded once by each model. Everything is sampled with a fixed seed, so that the same
models and rows give the same values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sentune.data.columns import input_columns, label_column
from sentune.data.forms import (
    NEGATIVES,
    PAIR,
    PAIR_AND_CLASS,
    PAIR_AND_MATCH,
    PAIR_AND_SCORE,
    TEACHER_MARGINS,
    TEACHER_SCORES,
    TEXT_AND_CLASS,
    TRIPLET,
    Form,
)
from sentune.types import Encoder
from sentune.vectors.tensors import to_tensor
from sentune.workbench.projection import flat
from sentune.workbench.searches import Search, ranks_of, shown

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ROWS = 2000  # held-out rows, at most
MAP_TEXTS = 2000  # on the map, at most
QUERIES = 8  # that improved, and as many that got worse
NEIGHBOURS = 6  # texts whose nearest are shown
BINS = 40  # of a histogram
HIGH = 0.8  # of the range of scores: from here on a pair is called alike
_WORDY = 600  # characters of a text that are kept

_SEARCHES = (PAIR.name, TRIPLET.name, NEGATIVES.name, TEACHER_SCORES.name, TEACHER_MARGINS.name)
_LABELLED_PAIRS = (PAIR_AND_SCORE.name, PAIR_AND_MATCH.name, PAIR_AND_CLASS.name)


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
        alike: For pairs with classes, the class of pairs that mean the same; None leaves out the
            queries of such rows unless the labels are 0 and 1.
        rows: How many rows are looked at, at most.
        seed: For the choice of rows, pairs and texts.
    """
    held_out = _Rows.of(data).sample(rows, seed)
    if not held_out.count or not held_out.columns:
        return {}
    random = np.random.default_rng(seed)
    sides = _Sides.of(before, after, held_out, form)
    found: dict[str, Any] = {"lengths": _lengths(before, held_out)}
    groups = _pairs(held_out, sides, form, random)
    if groups:
        found["scores"] = _scores(groups, sides)
    search = _search(held_out, sides, form, alike)
    if search is not None and len(search.queries):
        found["queries"] = _changed(search, sides)
    found["neighbours"] = _neighbours(held_out, sides, random)
    found["map"] = _map(held_out, sides, form, random)
    return {name: part for name, part in found.items() if part}


# Rows and their vectors ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Text columns by name, labels, and the names of classes where there are some."""

    columns: dict[str, list[str]]
    labels: list[Any] | None
    names: Sequence[str] | None

    @classmethod
    def of(cls, data: Any) -> _Rows:
        names = list(getattr(data, "column_names", None) or data)
        label = label_column(names)
        classes = getattr(getattr(data, "features", {}).get(label), "names", None)
        columns = {name: list(data[name]) for name in input_columns(names)}
        return cls(columns, None if label is None else list(data[label]), classes)

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def sample(self, most: int, seed: int) -> _Rows:
        """At most so many rows, in their order."""
        if self.count <= most:
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(self.count)[:most])
        columns = {name: [cells[row] for row in chosen] for name, cells in self.columns.items()}
        labels = None if self.labels is None else [self.labels[row] for row in chosen]
        return _Rows(columns, labels, self.names)

    def name_of(self, label: Any) -> str:
        """A class in words."""
        if self.names is not None and 0 <= int(label) < len(self.names):
            return str(self.names[int(label)])
        return str(label)


@dataclass(frozen=True)
class _Sides:
    """All texts, each once for each role, and their vectors of length 1 by both models.

    `places` has the number of each cell of a column.
    """

    texts: list[str]
    places: dict[str, Ints]
    before: Floats
    after: Floats

    @classmethod
    def of(cls, before: Encoder, after: Encoder, rows: _Rows, form: Form) -> _Sides:
        has_roles = form.name in _SEARCHES and (_tells_apart(before) or _tells_apart(after))
        known: dict[tuple[str, str], int] = {}
        places = {}
        for number, (name, cells) in enumerate(rows.columns.items()):
            role = ("document" if number else "query") if has_roles else "text"
            keys = [(role, cell) for cell in cells]
            places[name] = np.array([known.setdefault(key, len(known)) for key in keys], np.int64)
        keys = list(known)
        texts = [text for _, text in keys]
        return cls(texts, places, _vectors(before, keys), _vectors(after, keys))

    @property
    def both(self) -> tuple[Floats, Floats]:
        return self.before, self.after


def _tells_apart(model: Any) -> bool:
    """Whether a model may give a text another vector as a query than as a document."""
    prompts = getattr(model, "prompts", None)
    modules = getattr(model, "modules", None)
    if prompts is None or modules is None:
        return True
    has_routes = any(hasattr(module, "sub_modules") for module in modules())
    return has_routes or any(prompts.values())


def _vectors(model: Any, keys: Sequence[tuple[str, str]]) -> Floats:
    """Vectors of length 1 `(n, d)` of texts with their roles; zeros for one that is not finite."""
    encode = {"query": model.encode_query, "document": model.encode_document, "text": model.encode}
    parts: dict[str, list[int]] = {}
    for place, (role, _) in enumerate(keys):
        parts.setdefault(role, []).append(place)
    found: Floats | None = None
    for role, chosen in parts.items():
        given = encode[role]([keys[place][1] for place in chosen], show_progress_bar=False)
        vectors = to_tensor(given).float().cpu().numpy()
        if found is None:
            found = np.zeros((len(keys), vectors.shape[1]), np.float32)
        found[chosen] = vectors
    vectors = np.nan_to_num(cast(Floats, found), posinf=0, neginf=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return cast(Floats, vectors / np.maximum(lengths, 1e-12))


# Lengths ------------------------------------------------------------------------------------------


def _lengths(model: Any, rows: _Rows) -> dict[str, Any]:
    """For each column a histogram of the tokens of its texts, by the tokenizer of the model."""
    tokenizer = getattr(model, "tokenizer", None)
    if not callable(tokenizer):  # of a model without transformers
        return {}
    limit = getattr(model, "max_seq_length", None)
    found = {}
    for name, cells in rows.columns.items():
        ids = tokenizer(cells, truncation=False, verbose=False)["input_ids"]
        counts = np.array([len(one) for one in ids])
        found[name] = _length_histogram(counts, limit)
    return found


def _length_histogram(counts: Any, limit: int | None) -> dict[str, Any]:
    width = max(1, int(np.ceil((counts.max() + 1) / BINS)))
    edges = np.arange(0, counts.max() + width + 1, width)
    return {
        "edges": edges.tolist(),
        "counts": np.histogram(counts, edges)[0].tolist(),
        "limit": limit,
        "truncated": 0 if limit is None else int((counts > limit).sum()),
    }


# Scores of pairs ----------------------------------------------------------------------------------

Pairs = tuple[Ints, Ints]  # places of the first and of the second texts


def _pairs(rows: _Rows, sides: _Sides, form: Form, random: np.random.Generator) -> dict[str, Pairs]:
    """Groups of pairs of texts by name, those that belong together first."""
    places = list(sides.places.values())
    if form.name == TEXT_AND_CLASS.name:
        return _pairs_of_classes(places[0], np.asarray(rows.labels), random)
    if form.name in _LABELLED_PAIRS:
        return _labelled_pairs(rows, places, form)
    if form.name not in _SEARCHES or len(places) < 2:
        return {}
    first, right = places[0], _right_documents(rows, places, form)
    if len(places) > 2:
        others = [column for column in places[1:]]
        wrong = [(first[one != right], one[one != right]) for one in others]
        return {
            "positives": (first, right),
            "negatives": tuple(np.concatenate(part) for part in zip(*wrong, strict=True)),  # type: ignore[dict-item]
        }
    shifted = np.roll(np.arange(len(first)), random.integers(1, max(2, len(first))))
    is_other = (right[shifted] != right) & (first[shifted] != first)
    return {
        "positives": (first, right),
        "negatives": (first[is_other], right[shifted][is_other]),
    }


def _right_documents(rows: _Rows, places: list[Ints], form: Form) -> Ints:
    """The place of each row's right document: the first, or the one with the highest score."""
    if form.name != TEACHER_SCORES.name:
        return places[1]
    best = np.asarray(rows.labels, np.float64).reshape(rows.count, -1).argmax(axis=1)
    return np.stack(places[1:], axis=1)[np.arange(rows.count), best]


def _pairs_of_classes(texts: Ints, labels: Any, random: np.random.Generator) -> dict[str, Pairs]:
    """Chance pairs of one class, and as many of two."""
    count = min(20 * len(texts), 40_000)
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


def _labelled_pairs(rows: _Rows, places: list[Ints], form: Form) -> dict[str, Pairs]:
    first, second = places[0], places[1]
    labels = np.asarray(rows.labels)
    if form.name == PAIR_AND_CLASS.name:
        classes = np.unique(labels)
        return {rows.name_of(one): _some(first, second, labels == one) for one in classes}
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


def _scores(groups: Mapping[str, Pairs], sides: _Sides) -> dict[str, Any]:
    """Histograms of the cosines of pairs, in the same bins for all."""
    cosines = {
        name: [(side[first] * side[second]).sum(axis=1) for side in sides.both]
        for name, (first, second) in groups.items()
        if len(first)
    }
    if not cosines:
        return {}
    low = min(float(values.min()) for pair in cosines.values() for values in pair)
    edges = np.linspace(max(-1.0, np.floor(low * 10) / 10), 1.0, BINS + 1)
    counts = {
        name: [np.histogram(np.clip(values, edges[0], 1.0), edges)[0].tolist() for values in pair]
        for name, pair in cosines.items()
    }
    return {
        "edges": np.round(edges, 6).tolist(),
        "groups": {name: {"before": pair[0], "after": pair[1]} for name, pair in counts.items()},
    }


# Queries, neighbours, map -------------------------------------------------------------------------


def _search(rows: _Rows, sides: _Sides, form: Form, alike: int | None) -> Search | None:
    """What is looked for with what: the second texts of rows, or texts of a class."""
    places = list(sides.places.values())
    if form.name == TEXT_AND_CLASS.name:
        classes = [rows.name_of(label) for label in cast(Any, rows.labels)]
        return Search.of_classes(places[0], classes)
    if form.name in _SEARCHES and len(places) > 1:
        documents = np.concatenate(places[1:])
        return Search.of_pairs(places[0], _right_documents(rows, places, form), documents)
    if form.name not in _LABELLED_PAIRS:
        return None
    labels = np.asarray(rows.labels)
    if form.name == PAIR_AND_SCORE.name:
        is_right = labels >= labels.min() + HIGH * (labels.max() - labels.min())
    else:
        wanted = 1 if form.name == PAIR_AND_MATCH.name else alike
        is_right = labels == wanted if wanted is not None else np.zeros(len(labels), bool)
    return Search.of_pairs(places[0][is_right], places[1][is_right], places[1])


def _changed(search: Search, sides: _Sides) -> dict[str, Any]:
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


def _neighbours(rows: _Rows, sides: _Sides, random: np.random.Generator) -> list[dict[str, Any]]:
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
                {"text": sides.texts[one][:_WORDY], "score": round(float(scores[one]), 4)}
                for one in others
            ]
        found.append({"text": sides.texts[place][:_WORDY], **sides_of})
    return [one for one in found if one["before"]]


def _map(
    rows: _Rows, sides: _Sides, form: Form, random: np.random.Generator
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
    is_told_apart = form.name in (TEXT_AND_CLASS.name, *_SEARCHES)
    return {
        "before": np.round(before, 3).tolist(),
        "after": np.round(after, 3).tolist(),
        "texts": [sides.texts[place][:_WORDY] for place in chosen],
        "groups": [groups[place] for place in chosen] if is_told_apart else [],
    }
