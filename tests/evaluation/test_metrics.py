"""Metrics at hand-computed values and against loops written from their definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune.errors import InputError
from sentune.evaluation import metrics

labelled = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=25)
fast = settings(deadline=None, max_examples=150)


def split(pairs):
    return [float(score) for score, _ in pairs], [label for _, label in pairs]


# Correlations


def test_pearson_by_hand():
    # deviations (-1, 0, 1) and (-4/3, -1/3, 5/3): 3 / sqrt(2 * 14/3)
    assert metrics.pearson([1, 2, 3], [1, 2, 4]) == pytest.approx(3 / math.sqrt(28 / 3))
    assert metrics.pearson([1, 2, 3], [-1, -2, -3]) == pytest.approx(-1)


def test_equal_values_share_their_mean_rank():
    assert metrics.ranks([30, 10, 20, 10]).tolist() == [4, 1.5, 3, 1.5]


def test_spearman_by_hand():
    # without ties: 1 - 6 * sum of squared rank differences / (n (n² - 1))
    assert metrics.spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(1 - 6 * 2 / 60)
    assert metrics.spearman([1, 2, 3, 4], np.exp([1, 2, 3, 4])) == pytest.approx(1)


def test_what_never_varies_has_no_correlation():
    assert math.isnan(metrics.pearson([0.1] * 3, [1, 2, 3]))
    assert math.isnan(metrics.spearman([1, 2, 3], [0.7] * 3))
    assert math.isnan(metrics.spearman([1, 2, math.nan], [1, 2, 3]))
    assert math.isnan(metrics.pearson([1], [1]))


@fast
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30))
def test_correlations_are_those_of_scipy(pairs):
    stats = pytest.importorskip("scipy.stats")
    x, y = zip(*pairs, strict=True)
    if len(set(x)) == 1 or len(set(y)) == 1:
        return
    assert metrics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)


# Scores with a yes or no


def counts_from(scores, labels, threshold):
    called = [score >= threshold for score in scores]
    right = sum(c and label for c, label in zip(called, labels, strict=True))
    return called, right


def test_average_precision_by_hand():
    # found at ranks 1, 3 and 4 of 5: (1/1 + 2/3 + 3/4) / 3
    scores, labels = [5, 4, 3, 2, 1], [1, 0, 1, 1, 0]
    assert metrics.average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert metrics.average_precision(scores, labels, positives=4) == pytest.approx(
        (1 + 2 / 3 + 3 / 4) / 4
    )


def test_equal_scores_are_found_together():
    assert metrics.average_precision([1, 1, 1, 1], [1, 0, 0, 1]) == pytest.approx(2 / 4)


@fast
@given(labelled)
def test_average_precision_is_the_sum_over_thresholds(pairs):
    scores, labels = split(pairs)
    total, expected, found = sum(labels), 0.0, 0
    for threshold in sorted(set(scores), reverse=True):
        called, right = counts_from(scores, labels, threshold)
        expected += (right - found) / max(total, 1) * right / sum(called)
        found = right
    assert metrics.average_precision(scores, labels) == pytest.approx(expected)


def test_best_accuracy_by_hand():
    accuracy, threshold = metrics.best_accuracy([0.9, 0.8, 0.6, 0.1], [1, 1, 0, 0])
    assert (accuracy, threshold) == (1.0, pytest.approx(0.7))


def test_calling_nothing_positive_can_be_best():
    accuracy, threshold = metrics.best_accuracy([0.9, 0.5], [0, 0])
    assert accuracy == 1
    assert 0.9 < threshold < 0.9 + 1e-12


@fast
@given(labelled)
def test_best_accuracy_is_the_best_of_all_thresholds(pairs):
    scores, labels = split(pairs)

    def accuracy(threshold):
        called, _ = counts_from(scores, labels, threshold)
        return np.mean([c == label for c, label in zip(called, labels, strict=True)])

    best, threshold = metrics.best_accuracy(scores, labels)
    assert best == pytest.approx(max(map(accuracy, [*scores, 99])))
    assert accuracy(threshold) == pytest.approx(best)


@fast
@given(labelled)
def test_best_f1_is_the_best_of_all_thresholds(pairs):
    scores, labels = split(pairs)

    def f1(threshold):
        called, right = counts_from(scores, labels, threshold)
        return 2 * right / (sum(called) + sum(labels)) if right else 0

    best = metrics.best_f1(scores, labels)
    assert best.f1 == pytest.approx(max(map(f1, scores)))
    if best.f1:
        called, right = counts_from(scores, labels, best.threshold)
        assert best.precision == pytest.approx(right / sum(called))
        assert best.recall == pytest.approx(right / sum(labels))
    else:
        assert best == (0, 0, 0, 0)


def test_a_threshold_between_neighbours_of_the_dtype_stays_above_the_lower():
    high = np.float32(1)
    low = np.nextafter(high, np.float32(0))
    scores = np.array([high, low], dtype=np.float32)
    _, threshold = metrics.best_accuracy(scores, [1, 0])
    assert low < threshold <= high


def test_matthews_correlation_by_hand():
    # tp 2, tn 1, fp 1, fn 0: (2·1 - 1·0) / sqrt(3 · 2 · 2 · 1)
    value = metrics.matthews_correlation([1, 1, 1, 0], [1, 1, 0, 0])
    assert value == pytest.approx(2 / math.sqrt(12))
    assert metrics.matthews_correlation([1, 1], [1, 0]) == 0


@fast
@given(labelled)
def test_the_same_as_sklearn(pairs):
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels = split(pairs)
    if any(labels):
        assert metrics.average_precision(scores, labels) == pytest.approx(
            sklearn.average_precision_score(labels, scores)
        )
    called = [score > 0 for score in scores]
    if len({*called, *labels}) > 1:
        assert metrics.matthews_correlation(called, labels) == pytest.approx(
            sklearn.matthews_corrcoef(labels, called), abs=1e-12
        )
    if len(scores) > 1:
        for k in (1, 3, 50):
            assert metrics.ndcg_of_scores(scores, labels, k) == pytest.approx(
                sklearn.ndcg_score([labels], [scores], k=k)
            )


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="1 of 2 scores are NaN"):
        metrics.average_precision([math.nan, 1], [0, 1])
    with pytest.raises(InputError, match="labels"):
        metrics.best_f1([1.0, 2.0], [1])


def test_ndcg_of_scores_is_the_mean_over_the_orders_of_equal_scores():
    scores, gains, k = [2, 1, 1, 1], [0, 3, 0, 1], 3
    orders = [(0, *order) for order in itertools.permutations([1, 2, 3])]
    dcg = [sum(gains[i] / math.log2(r + 2) for r, i in enumerate(o[:k])) for o in orders]
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert metrics.ndcg_of_scores(scores, gains, k) == pytest.approx(np.mean(dcg) / best)


# Rankings. Two queries: relevant at ranks 2 and 3 of 2 relevant; at rank 1 of 4 relevant.

HITS = np.array([[0, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
RELEVANT = np.array([2, 4])


def dcg(*ranks):
    return sum(1 / math.log2(rank + 1) for rank in ranks)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (metrics.accuracy_at_k(HITS, 1), 1 / 2),
        (metrics.accuracy_at_k(HITS, 2), 1),
        (metrics.precision_at_k(HITS, 2), (1 / 2 + 1 / 2) / 2),
        (metrics.precision_at_k(HITS, 10), (2 / 10 + 1 / 10) / 2),
        (metrics.recall_at_k(HITS, RELEVANT, 2), (1 / 2 + 1 / 4) / 2),
        (metrics.mrr_at_k(HITS, 1), 1 / 2),
        (metrics.mrr_at_k(HITS, 4), (1 / 2 + 1) / 2),
        (metrics.ndcg_at_k(HITS, RELEVANT, 2), (dcg(2) / dcg(1, 2) + 1 / dcg(1, 2)) / 2),
        (
            metrics.ndcg_at_k(HITS, RELEVANT, 10),
            (dcg(2, 3) / dcg(1, 2) + 1 / dcg(1, 2, 3, 4)) / 2,
        ),
        (metrics.map_at_k(HITS, RELEVANT, 4), ((1 / 2 + 2 / 3) / 2 + 1 / 4) / 2),
        (metrics.map_at_k(HITS, RELEVANT, 2), (1 / 2 / 2 + 1 / 2) / 2),
    ],
)
def test_rankings_by_hand(value, expected):
    assert value == pytest.approx(expected)


def test_nothing_found_is_zero():
    none = np.zeros((3, 5), dtype=bool)
    relevant = np.ones(3, dtype=int)
    assert metrics.accuracy_at_k(none, 5) == metrics.mrr_at_k(none, 5) == 0
    for metric in (metrics.recall_at_k, metrics.ndcg_at_k, metrics.map_at_k):
        assert metric(none, relevant, 5) == 0
