"""Queries and what they should find, the ranks of that by a model, and what is found first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sentune.report.plain import shortened

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

FIRST = 5  # results that are shown
_BLOCK = 256  # queries whose scores are in memory at a time


@dataclass(frozen=True)
class Search:
    """Queries and what they should find; texts are given by their places.

    Attributes:
        queries: `(q,)`.
        documents: `(d,)`, what is searched, each once.
        right: For each query the numbers of the right documents among these.
        expected: For each query, what is looked for: the place of a text, or the name of a class.
        classes: Name of the class of each document, where classes are looked for.
    """

    queries: Ints
    documents: Ints
    right: list[set[int]]
    expected: list[int] | list[str]
    classes: list[str] | None = None

    @classmethod
    def of_pairs(cls, first: Ints, second: Ints, documents: Ints) -> Search:
        """Each first text finds its second one among all documents; of equal queries the first."""
        documents = np.unique(documents)
        right: dict[int, set[int]] = {}
        expected: dict[int, int] = {}
        for query, text in zip(first.tolist(), second.tolist(), strict=True):
            right.setdefault(query, set()).add(int(np.searchsorted(documents, text)))
            expected.setdefault(query, text)
        queries = np.array(list(right), np.int64)
        return cls(queries, documents, list(right.values()), list(expected.values()))

    @classmethod
    def of_classes(cls, texts: Ints, labels: Sequence[str]) -> Search:
        """Each text finds the others of its class."""
        label_of: dict[int, str] = {}
        for place, label in zip(texts.tolist(), labels, strict=True):
            label_of.setdefault(place, label)
        documents = np.array(list(label_of), np.int64)
        classes = list(label_of.values())
        of_class: dict[str, set[int]] = {}
        for number, label in enumerate(classes):
            of_class.setdefault(label, set()).add(number)
        kept = [number for number, label in enumerate(classes) if len(of_class[label]) > 1]
        right = [of_class[classes[number]] - {number} for number in kept]
        expected = [classes[number] for number in kept]
        return cls(documents[kept], documents, right, expected, classes)


def ranks_of(search: Search, vectors: Floats) -> NDArray[np.float64]:
    """For each query the rank of its first right document, from 1; a text does not find itself."""
    documents = vectors[search.documents]
    found = []
    for start in range(0, len(search.queries), _BLOCK):
        queries = search.queries[start : start + _BLOCK]
        scores = vectors[queries] @ documents.T
        scores[queries[:, None] == search.documents] = -np.inf
        for row, right in zip(scores, search.right[start : start + _BLOCK], strict=True):
            others = np.ones(len(row), bool)
            others[list(right)] = False
            best = row[~others].max()
            # A wrong one with the same score comes first: who finds all alike finds nothing.
            found.append(1 + int(((row >= best) & others).sum()))
    return np.array(found, np.float64)


def shown(search: Search, sides: Any, ranks: Sequence[Any], number: int, most: int) -> dict:
    """A query in words: its ranks by both models, and what each finds first."""
    expected = search.expected[number]
    text = expected if isinstance(expected, str) else sides.texts[expected]
    return {
        "query": shortened(sides.texts[search.queries[number]], most),
        "expected": shortened(text, most),
        "rank_before": int(ranks[0][number]),
        "rank_after": int(ranks[1][number]),
        "before": _first(search, sides.texts, sides.before, number, most),
        "after": _first(search, sides.texts, sides.after, number, most),
    }


def _first(
    search: Search, texts: Sequence[str], vectors: Floats, number: int, most: int
) -> list[dict[str, Any]]:
    query = search.queries[number]
    scores = vectors[search.documents] @ vectors[query]
    scores[search.documents == query] = -np.inf
    best = [one for one in np.argsort(-scores, kind="stable")[:FIRST] if np.isfinite(scores[one])]
    return [
        {
            "text": shortened(texts[search.documents[one]], most),
            "score": round(float(scores[one]), 4),
            "is_right": int(one) in search.right[number],
            **({"label": cast(Any, search.classes)[one]} if search.classes else {}),
        }
        for one in best
    ]
