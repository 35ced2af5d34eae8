"""Metrics: pure functions over arrays, in float64.

Three families: correlations of two rows of numbers; `scores (b,)`, higher means positive, with
`is_positive (b,)`, 0 or 1 (pairs that are alike or not); rankings, given as `hits (b, k)`, true
where the document at that rank of that query is relevant, best rank first, with `relevant (b,)`,
how many are relevant to each query, and `k`, how many ranks count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sentune.errors import InputError


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """The linear correlation of two rows of numbers; NaN where one of them never varies."""
    first, second = _centered(x), _centered(y)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    if not lengths > 0:
        return float("nan")
    return float(np.clip(first @ second / lengths, -1, 1))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """The correlation of the ranks; equal values share the mean of their ranks."""
    if np.isnan(_numbers(x)).any() or np.isnan(_numbers(y)).any():
        return float("nan")
    return pearson(ranks(x), ranks(y))


def ranks(values: ArrayLike) -> np.ndarray:
    """The rank of each value, smallest 1; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(_numbers(values), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2)[group]


class Cuts(NamedTuple):
    """What calling the highest scores positive would give, for each place where scores differ."""

    thresholds: np.ndarray  # (c,) falling: from here on up a score counts as positive
    called: np.ndarray  # (c,) how many scores are above the cut
    correct: np.ndarray  # (c,) how many of these are positive


def cuts(scores: ArrayLike, is_positive: ArrayLike) -> Cuts:
    """Every place to cut, from the highest score down; an InputError if a score is NaN.

    A threshold is half way to the next lower score, in the dtype of the scores.
    """
    score, positive = np.asarray(scores), np.asarray(is_positive).astype(bool)
    if score.shape != positive.shape:
        raise InputError(f"{score.shape} scores do not fit {positive.shape} labels")
    if np.isnan(score).any():
        raise InputError(
            f"{np.isnan(score).sum()} of {len(score)} scores are NaN; "
            "the model gives embeddings that are not numbers"
        )
    order = np.argsort(-score, kind="stable")
    score = score[order]
    is_last = np.append(score[1:] != score[:-1], True)[: len(score)]
    called = np.flatnonzero(is_last) + 1
    correct = np.cumsum(positive[order])[is_last]
    values = score[is_last]
    lower = np.append(values[1:], values[-1:])
    middle = (values + lower) / np.asarray(2, dtype=score.dtype)
    # Between neighbours of the dtype there is no middle: it would be the lower one.
    return Cuts(np.where(middle == lower, values, middle), called, correct)


def average_precision(
    scores: ArrayLike, is_positive: ArrayLike, positives: int | None = None
) -> float:
    """The mean over all `positives`, found or not, of the precision at which each is found."""
    _, called, correct = cuts(scores, is_positive)
    total = _count(is_positive) if positives is None else positives
    if not total:
        return 0.0
    return float((np.diff(correct, prepend=0) * (correct / called)).sum() / total)


def best_accuracy(scores: ArrayLike, is_positive: ArrayLike) -> tuple[float, float]:
    """The highest accuracy that a threshold can give, and the threshold."""
    thresholds, called, correct = cuts(scores, is_positive)
    count, negatives = called[-1], called[-1] - _count(is_positive)
    above_all = np.nextafter(np.asarray(scores).max(), np.inf, dtype=thresholds.dtype)
    right = np.append(negatives, correct + negatives - (called - correct))
    best = int(np.argmax(right))
    return float(right[best] / count), float(np.append(above_all, thresholds)[best])


class F1(NamedTuple):
    """The cut with the highest F1."""

    f1: float
    precision: float
    recall: float
    threshold: float


def best_f1(scores: ArrayLike, is_positive: ArrayLike, positives: int | None = None) -> F1:
    """The highest F1 that a threshold can give; all zero where nothing positive is found."""
    thresholds, called, correct = cuts(scores, is_positive)
    total = _count(is_positive) if positives is None else positives
    found = np.flatnonzero(correct)
    if not total or not len(found):
        return F1(0.0, 0.0, 0.0, 0.0)
    precision, recall = correct[found] / called[found], correct[found] / total
    f1 = 2 * precision * recall / (precision + recall)
    best = int(np.argmax(f1))
    return F1(*(float(values[best]) for values in (f1, precision, recall, thresholds[found])))


def matthews_correlation(predicted: ArrayLike, actual: ArrayLike) -> float:
    """The correlation of two rows of yes and no; 0 where one of them never varies."""
    value = pearson(np.asarray(predicted).astype(bool), np.asarray(actual).astype(bool))
    return 0.0 if np.isnan(value) else value


def accuracy_at_k(hits: np.ndarray, k: int) -> float:
    """The part of the queries with something relevant among the first `k`."""
    return float(hits[:, :k].any(axis=1).mean())


def precision_at_k(hits: np.ndarray, k: int) -> float:
    """The part of the first `k` that is relevant, mean over queries; empty ranks count as wrong."""
    return float((hits[:, :k].sum(axis=1) / k).mean())


def recall_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """The part of the relevant that is among the first `k`, mean over queries."""
    return float((hits[:, :k].sum(axis=1) / relevant).mean())


def mrr_at_k(hits: np.ndarray, k: int) -> float:
    """One over the rank of the first relevant, 0 if it is beyond `k`; mean over queries."""
    if not hits[:, :k].shape[1]:
        return 0.0
    first = hits[:, :k].argmax(axis=1)
    return float((hits[:, :k].any(axis=1) / (first + 1)).mean())


def ndcg_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """The sum of 1 / log2(rank + 1) over the relevant, divided by the best there can be."""
    gained = hits[:, :k] @ _discounts(hits[:, :k].shape[1])
    best = np.append(0, np.cumsum(_discounts(k)))
    return float((gained / best[np.minimum(relevant, k)]).mean())


def map_at_k(hits: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """The mean precision at the ranks of the relevant among the first `k`; mean over queries."""
    hits = hits[:, :k]
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return float(((precision * hits).sum(axis=1) / np.minimum(relevant, k)).mean())


def ndcg_of_scores(scores: ArrayLike, gains: ArrayLike, k: int) -> float:
    """The nDCG of one list of `scores (n,)`, as the mean over all orders of equal scores.

    The gains `(n,)` say what each entry is worth, 0 or more.

    Source:
        McSherry and Najork, Computing Information Retrieval Performance Measures Efficiently in
        the Presence of Tied Scores, 2008.
    """
    gain = _numbers(gains)
    discounts = _discounts(len(gain)) * (np.arange(len(gain)) < k)
    _, group, sizes = np.unique(-_numbers(scores), return_inverse=True, return_counts=True)
    mean_gain = np.bincount(group, weights=gain) / sizes  # (groups,), best score first
    best = np.sort(gain)[::-1] @ discounts
    return float(np.repeat(mean_gain, sizes) @ discounts / best) if best else 0.0


def _discounts(count: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, count + 2))


def _numbers(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _centered(values: ArrayLike) -> np.ndarray:
    numbers = _numbers(values)
    # A constant row is exactly zero, not what rounding leaves of it.
    return numbers - numbers.mean() if np.ptp(numbers) else np.zeros_like(numbers)


def _count(is_positive: ArrayLike) -> int:
    return int(np.asarray(is_positive).astype(bool).sum())
