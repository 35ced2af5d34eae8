"""What is measured on rows of a form: one function for each kind, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentune.data.columns import Cells, input_columns, label_column
from sentune.data.forms import (
    NEGATIVES,
    PAIR,
    PAIR_AND_CLASS,
    PAIR_AND_MATCH,
    PAIR_AND_SCORE,
    TEACHER_EMBEDDING,
    TEACHER_MARGINS,
    TEACHER_SCORES,
    TEXT_AND_CLASS,
    TRIPLET,
    Form,
)
from sentune.errors import DatasetError
from sentune.evaluation.metrics import average_precision, spearman
from sentune.search.semantic import nearest
from sentune.types import Encoder
from sentune.vectors.similarity import function_of
from sentune.vectors.tensors import to_tensor
from sentune.workbench.measuring.measure import Figure, Floats, Ints, Measure
from sentune.workbench.rows.alike import alike_class
from sentune.workbench.rows.columns import Rows

RANKS = 10  # of a search, that count
NEIGHBOURS = 5  # that vote for a class
REFERENCES = 2000  # labelled texts, at most, among which the neighbours are looked for
_QUERIES = 256  # of a search, whose scores are in memory at a time


def measure_for(
    held_out: Any,
    train: Any | None,
    form: Form,
    *,
    groups: Ints | None = None,
    model: Encoder | None = None,
    references: int = REFERENCES,
    seed: int = 12,
) -> Measure:
    """What is measured on held-out rows of a form.

    | form | figure |
    |---|---|
    | pair and score | Spearman's correlation of cosines and scores |
    | pair and 0 or 1; pair and class | average precision of the pairs that are alike |
    | sentence and class | accuracy of the vote of the 5 nearest training texts |
    | pair | MRR@10 of the second text among those of the held-out and the training rows |
    | triplet, several negatives | how often the positive is nearer than all negatives |
    | query, documents, teacher's scores | as pair and score, over all documents |
    | text and teacher's embedding | mean cosine of the model's and the teacher's embedding |

    Args:
        held_out: Columns as a dict of lists or a `datasets.Dataset`.
        train: The training rows: labelled neighbours for classes, other documents for a search;
            None searches among the held-out rows alone.
        form: Of both.
        groups: `(n,)`, rows with the same number are drawn together; None for each by itself.
        model: Says which class of pairs is the one of texts that are alike, where no name does.
        references: How many training rows are searched, at most.
        seed: For the choice of these.

    Raises:
        DatasetError: If nothing can be measured on rows of this form.
    """
    make = _MEASURES.get(form.name)
    if make is None:
        raise DatasetError(
            f"nothing can be measured on rows of the form {form.name!r} ({form.words}): they do "
            "not say which texts belong together; give other rows with --dev and --test"
        )
    rows = Rows.of(held_out)
    reference = None if train is None else _sample(train, references, seed)
    made = make(rows, reference, model)
    own = np.arange(rows.count) if groups is None else np.asarray(groups)
    per_row = len(made.targets) // rows.count
    return made.build(np.repeat(own, per_row))


# Rows ---------------------------------------------------------------------------------------------


def _sample(data: Any, count: int, seed: int) -> Rows:
    """At most so many rows; of single texts with a class, of each class an even share."""
    names = list(getattr(data, "column_names", None) or data)
    inputs, label = input_columns(names), label_column(names)
    rows = len(data[inputs[0]])
    if rows <= count:
        return Rows.of(data)
    order = np.random.default_rng(seed).permutation(rows)
    if len(inputs) > 1 or label is None:
        return Rows.of(data, np.sort(order[:count]))
    _, number, sizes = np.unique(
        np.asarray(list(Cells(data, label)))[order], return_inverse=True, return_counts=True
    )
    turn = np.empty(rows, np.int64)  # the how-manieth of its class a row is
    turn[np.argsort(number, kind="stable")] = np.arange(rows) - np.repeat(
        np.cumsum(sizes) - sizes, sizes
    )
    return Rows.of(data, np.sort(order[np.argsort(turn, kind="stable")][:count]))


@dataclass(frozen=True)
class _Made:
    """A measure without the groups of its rows."""

    metric: str
    explanation: str
    texts: Mapping[str, Sequence[str]]
    targets: Floats
    rows: Callable[[Encoder, Mapping[str, Tensor]], Floats]
    figure: Figure

    def build(self, groups: Ints) -> Measure:
        return Measure(
            self.metric,
            self.explanation,
            self.texts,
            groups,
            self.targets,
            self.rows,
            self.figure,
        )


class _Texts:
    """Texts, each kept once, and where they are."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}

    def add(self, texts: Sequence[str]) -> Tensor:
        """The places of some texts `(b,)`."""
        place = self._place
        return torch.tensor([place.setdefault(text, len(place)) for text in texts])

    def all(self) -> list[str]:
        """All texts, in the order of their places."""
        return list(self._place)


# Pairs --------------------------------------------------------------------------------------------


def _pairs(
    first: Sequence[str], second: Sequence[str], roles: tuple[str, str]
) -> tuple[dict[str, list[str]], Callable[[Encoder, Mapping[str, Tensor]], Floats]]:
    """The texts of pairs by role, and a function that gives their scores."""
    kept = {role: _Texts() for role in roles}
    left, right = kept[roles[0]].add(first), kept[roles[1]].add(second)

    def scores(model: Encoder, encoded: Mapping[str, Tensor]) -> Floats:
        pairwise = model.similarity_pairwise(encoded[roles[0]][left], encoded[roles[1]][right])
        return to_tensor(pairwise).double().numpy()

    return {role: texts.all() for role, texts in kept.items()}, scores


_SAME_ROLE = ("text", "text")
_SEARCH = ("query", "document")


def _correlation(scores: Floats, targets: Floats) -> float:
    value = spearman(scores, targets)
    return 0.0 if np.isnan(value) else value  # all are equal: nothing is told apart


def _scored(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    texts, scores = _pairs(rows.texts[0], rows.texts[1], _SAME_ROLE)
    return _Made(
        "Spearman",
        "correlation of the ranks of the model's scores and the labels",
        texts,
        np.asarray(rows.labels, np.float64),
        scores,
        _correlation,
    )


def _matched(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    labels = np.asarray(rows.labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DatasetError(
            f"all held-out pairs have the label {rows.name_of(classes[0])}; give other rows"
        )
    alike = alike_class(rows.texts, labels, rows.names, model)
    texts, scores = _pairs(rows.texts[0], rows.texts[1], _SAME_ROLE)
    name = rows.name_of(alike)
    return _Made(
        "average precision",
        f"how well the pairs with the label {name} come first when all are sorted by similarity",
        texts,
        (labels == alike).astype(np.float64),
        scores,
        average_precision,
    )


def _taught(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    query, *documents = rows.texts
    count = len(documents)
    first = [text for text in query for _ in range(count)]
    second = [text for row in zip(*documents, strict=True) for text in row]
    texts, scores = _pairs(first, second, _SEARCH)
    return _Made(
        "Spearman",
        "correlation of the ranks of the model's scores and the teacher's",
        texts,
        np.asarray(rows.labels, np.float64).reshape(-1),
        scores,
        _correlation,
    )


def _embedded(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    kept = _Texts()
    places = [kept.add(column) for column in rows.texts]
    # (n, d) for the texts of all columns, or (n, columns, d)
    teacher = torch.tensor(np.asarray(rows.labels, np.float32))
    given = [teacher[:, at] if teacher.ndim > 2 else teacher for at in range(len(places))]

    def alike(model: Encoder, encoded: Mapping[str, Tensor]) -> Floats:
        vectors = encoded["text"]
        if vectors.shape[1] != teacher.shape[-1]:
            raise DatasetError(
                f"the teacher's embeddings have {teacher.shape[-1]} numbers and the model's "
                f"{vectors.shape[1]}; give embeddings of as many, or a model with a Dense that "
                "ends in as many"
            )
        found = [
            torch.cosine_similarity(vectors[own].double(), label.double())
            for own, label in zip(places, given, strict=True)
        ]
        return torch.stack(found).mean(dim=0).numpy()

    return _Made(
        "cosine to the teacher",
        "mean cosine of the model's embeddings and those of the teacher",
        {"text": kept.all()},
        np.zeros(rows.count),
        alike,
        _mean,
    )


# Neighbours ---------------------------------------------------------------------------------------


def _mean(values: Floats, targets: Floats) -> float:
    return float(values.mean())


def _classed(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    kept = _Texts()
    asked = kept.add(rows.texts[0])
    others = kept.add(reference.texts[0]) if reference else asked
    own = np.asarray(rows.labels)
    labels = np.asarray(reference.labels if reference else rows.labels)
    classes, number = np.unique(labels, return_inverse=True)

    def solved(model: Encoder, encoded: Mapping[str, Tensor]) -> Floats:
        vectors = encoded["text"]
        extra = 0 if reference else 1  # a text finds itself
        score = {"": function_of(model.similarity)}
        best = nearest(vectors[asked], [vectors[others]], score, NEIGHBOURS + extra)[""]
        places, scores = best.columns.numpy(), best.scores.double().numpy()
        if not reference:
            is_other = places != np.arange(len(places))[:, None]
            is_other &= np.cumsum(is_other, axis=1) <= NEIGHBOURS
            scores = np.where(is_other, scores, -np.inf)
        return (_vote(number[places], scores, len(classes), classes) == own).astype(np.float64)

    return _Made(
        f"accuracy of {NEIGHBOURS} nearest neighbours",
        f"how often the {NEIGHBOURS} nearest labelled texts vote for the right class",
        {"text": kept.all()},
        np.zeros(rows.count),
        solved,
        _mean,
    )


def _vote(found: Ints, scores: Floats, count: int, classes: Any) -> Any:
    """The class with most neighbours `(q, k)`; of several such, the one with the nearest."""
    votes = np.zeros((len(found), count))
    is_near = np.isfinite(scores)
    rows = np.arange(len(found))
    for rank in range(found.shape[1]):
        # Less than one vote all together, and the more the nearer.
        weight = np.where(is_near[:, rank], 1 + 0.5 ** (rank + 2), 0.0)
        votes[rows, found[:, rank]] += weight
    return np.where(is_near.any(axis=1), classes[votes.argmax(axis=1)], np.nan)


def _searched(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    queries, documents = _Texts(), _Texts()
    asked, right = queries.add(rows.texts[0]), documents.add(rows.texts[1])
    if reference:
        documents.add(reference.texts[1])
    is_no_answer = _no_answers(queries.all(), documents.all(), asked, right)

    def solved(model: Encoder, encoded: Mapping[str, Tensor]) -> Floats:
        found = [
            _reciprocal_ranks(
                to_tensor(model.similarity(encoded["query"][some], encoded["document"])),
                own,
                [is_no_answer[place] for place in some.tolist()],
            )
            for some, own in zip(asked.split(_QUERIES), right.split(_QUERIES), strict=True)
        ]
        return torch.cat(found).numpy()

    return _Made(
        f"MRR@{RANKS}",
        "one over the rank at which the right text is found, 0 beyond 10, on average",
        {"query": queries.all(), "document": documents.all()},
        np.zeros(rows.count),
        solved,
        _mean,
    )


def _no_answers(
    queries: Sequence[str], documents: Sequence[str], asked: Tensor, right: Tensor
) -> list[list[int]]:
    """For each query the documents that do not count as wrong: other answers, and itself."""
    place = {text: number for number, text in enumerate(documents)}
    found: list[list[int]] = [[place[text]] if text in place else [] for text in queries]
    for query, document in zip(asked.tolist(), right.tolist(), strict=True):
        found[query].append(document)
    return found


def _reciprocal_ranks(scores: Tensor, own: Tensor, no_answers: list[list[int]]) -> Tensor:
    """Of `scores (q, d)`, `(q,)`: one over the rank of the right document, 0 beyond the last rank.

    A document with the same score counts as better: a model that finds all texts alike finds none.
    """
    right = scores.gather(1, own[:, None])
    is_before = scores >= right
    for row, places in enumerate(no_answers):
        is_before[row, places] = False
    ranks = 1 + is_before.sum(dim=1).double()
    is_found = (ranks <= RANKS) & right[:, 0].isfinite()
    return torch.where(is_found, 1 / ranks, 0.0)


def _triplets(rows: Rows, reference: Rows | None, model: Encoder | None) -> _Made:
    kept = {role: _Texts() for role in _SEARCH}
    anchor = kept["query"].add(rows.texts[0])
    others = [kept["document"].add(column) for column in rows.texts[1:]]

    def solved(model: Encoder, encoded: Mapping[str, Tensor]) -> Floats:
        query, documents = encoded["query"][anchor], encoded["document"]
        near, *far = (
            to_tensor(model.similarity_pairwise(query, documents[places])) for places in others
        )
        return (near > torch.stack(far).amax(dim=0)).double().numpy()

    return _Made(
        "triplet accuracy",
        "how often the positive is nearer to the anchor than every negative",
        {role: texts.all() for role, texts in kept.items()},
        np.zeros(rows.count),
        solved,
        _mean,
    )


_MEASURES: dict[str, Callable[[Rows, Rows | None, Encoder | None], _Made]] = {
    PAIR_AND_SCORE.name: _scored,
    PAIR_AND_MATCH.name: _matched,
    PAIR_AND_CLASS.name: _matched,
    TEXT_AND_CLASS.name: _classed,
    PAIR.name: _searched,
    TRIPLET.name: _triplets,
    NEGATIVES.name: _triplets,
    TEACHER_EMBEDDING.name: _embedded,
    TEACHER_SCORES.name: _taught,
    TEACHER_MARGINS.name: _triplets,
}
