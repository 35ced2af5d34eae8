"""Mined negatives as the columns of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from sentune.search.limits import NOTHING, Candidates

Scored: TypeAlias = "list[tuple[str, float]]"  # documents and their scores


class Group(NamedTuple):
    """One query with what belongs to it."""

    query: str
    positives: Scored
    negatives: Scored


class Row(NamedTuple):
    """One row of the dataset."""

    cells: tuple[Any, ...]
    labels: Any
    scores: Any


@dataclass(frozen=True)
class Mined:
    """Queries and documents, each once, and the places in the corpus that belong to each query."""

    queries: list[str]
    corpus: list[str]
    positives: list[list[int]]
    positive_scores: list[list[float]]
    negatives: Candidates

    def columns(self, names: list[str], output_format: str, has_scores: bool) -> dict[str, list]:
        """The columns of the dataset; `names` are those of the anchors and positives."""
        count = self.negatives.scores.shape[1]
        rows = [row for group in self.groups() for row in FORMATS[output_format](group, count)]
        more = {"triplet": ["negative"], "n-tuple": [f"negative_{i + 1}" for i in range(count)]}
        names = [*names, *more.get(output_format, [])]
        data = {name: [row.cells[place] for row in rows] for place, name in enumerate(names)}
        ending = "" if output_format == "labeled-pair" else "s"
        if has_scores:
            data[f"score{ending}"] = [row.scores for row in rows]
        elif output_format not in more:
            data[f"label{ending}"] = [row.labels for row in rows]
        return data

    def groups(self) -> Iterator[Group]:
        """What belongs to each query."""
        known = zip(self.queries, self.positives, self.positive_scores, strict=True)
        for (query, positives, scores), others, places in zip(known, *self.negatives, strict=True):
            is_in = others > NOTHING
            negatives = self._scored(places[is_in].tolist(), others[is_in].tolist())
            yield Group(query, self._scored(positives, scores), negatives)

    def _scored(self, places: list[int], scores: list[float]) -> Scored:
        return [(self.corpus[place], score) for place, score in zip(places, scores, strict=True)]


def _triplets(group: Group, count: int) -> Iterator[Row]:
    for positive, score in group.positives:
        for negative, other in group.negatives:
            yield Row((group.query, positive, negative), None, [score, other])


def _tuples(group: Group, count: int) -> Iterator[Row]:
    if len(group.negatives) == count:
        for positive, score in group.positives:
            negatives, others = zip(*group.negatives, strict=True)
            yield Row((group.query, positive, *negatives), None, [score, *others])


def _pairs(group: Group, count: int) -> Iterator[Row]:
    for label, documents in ((1, group.positives), (0, group.negatives)):
        for document, score in documents:
            yield Row((group.query, document), label, score)


def _lists(group: Group, count: int) -> Iterator[Row]:
    for positive in group.positives if group.negatives else ():
        documents, scores = zip(positive, *group.negatives, strict=True)
        labels = [1] + [0] * len(group.negatives)
        yield Row((group.query, list(documents)), labels, list(scores))


FORMATS: dict[str, Callable[[Group, int], Iterator[Row]]] = {
    "triplet": _triplets,
    "n-tuple": _tuples,
    "labeled-pair": _pairs,
    "labeled-list": _lists,
}
