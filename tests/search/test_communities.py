"""Groups: what they hold, their order, and what does not change them."""

import numpy as np
import pytest

from sentune.errors import SettingError
from sentune.search import community_detection
from sentune.vectors.similarity import cos_sim


def matrix(rows, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def three_groups():
    """Three groups round three axes, of 12, 8 and 5, and 4 rows far from all."""
    centers = np.repeat(np.eye(9)[:3], [12, 8, 5], axis=0)
    rows = np.concatenate([centers, 10 * np.eye(9)[4:8]])
    return (rows + 0.05 * matrix(29, 9)).astype(np.float32)


def test_groups_are_found_largest_first():
    groups = community_detection(three_groups(), threshold=0.8, min_community_size=5)
    expected = [list(range(12)), list(range(12, 20)), list(range(20, 25))]
    assert [sorted(group) for group in groups] == expected


def test_a_group_starts_with_its_centre_and_falls_off_from_there():
    rows = three_groups()
    for group in community_detection(rows, threshold=0.8, min_community_size=5):
        scores = cos_sim(rows[group[0]], rows[group])[0]
        assert scores[0] == scores.max()
        assert (scores[1:].diff() <= 1e-6).all()


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_the_batch_size_changes_nothing(batch_size):
    rows = three_groups()
    expected = community_detection(rows, min_community_size=2)
    assert community_detection(rows, min_community_size=2, batch_size=batch_size) == expected


def test_no_row_is_in_two_groups():
    rows = matrix(200, 3)
    groups = community_detection(rows, threshold=0.7, min_community_size=3)
    members = [row for group in groups for row in group]
    assert len(members) == len(set(members)) > 100
    assert [len(g) for g in groups] == sorted((len(g) for g in groups), reverse=True)


def test_nothing_to_group():
    assert community_detection([]) == []
    assert community_detection(matrix(5)) == []
    assert community_detection(np.eye(20), min_community_size=2) == []


def test_a_size_of_zero_is_refused():
    with pytest.raises(SettingError, match="min_community_size"):
        community_detection(matrix(5), min_community_size=0)
