"""Groups: what they hold, their order, and what does not change them."""

import tracemalloc

import numpy as np
import pytest

from sentune.errors import SettingError
from sentune.search import communities, community_detection
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


def by_a_loop(rows, threshold, smallest):
    """The definition, one row after the other; scores are those of whole numbers, thus exact."""
    scores = rows.astype(np.float64) @ rows.T.astype(np.float64)
    scores /= 64  # of the squared length of each row
    close = [np.flatnonzero(scores[row] >= threshold) for row in range(len(rows))]
    taken, groups = set(), []
    for center in sorted(range(len(rows)), key=lambda row: -len(close[row])):
        members = [row for row in close[center] if row not in taken]
        if center in taken or len(close[center]) < smallest or len(members) < smallest:
            continue
        others = sorted((row for row in members if row != center), key=lambda r: -scores[center][r])
        groups.append([center, *others])
        taken.update(groups[-1])
    return sorted(groups, key=len, reverse=True)


def exact(count, seed=0):
    """Rows of length 8 whose products are exact, many of them equal."""
    random = np.random.default_rng(seed)
    rows = random.choice([-2.0, 2.0], size=(count, 16), p=[0.3, 0.7]).astype(np.float32)
    rows[count // 2 : count // 2 + count // 8] = rows[0]
    return rows


@pytest.mark.parametrize("most", [1, 3, 1024])
@pytest.mark.parametrize("threshold", [1.0, 0.75, 0.5, 0.25, -1.0])
def test_groups_are_those_of_a_plain_loop(monkeypatch, most, threshold):
    monkeypatch.setattr(communities, "_MOST", most)
    rows = exact(260)
    expected = by_a_loop(rows, threshold, 3)
    found = community_detection(rows, threshold, min_community_size=3, batch_size=100)
    assert found == expected
    assert len(found) > 1 or threshold == -1


def test_nan_is_close_to_nothing_and_zeros_to_none_but_by_a_threshold_below():
    rows = exact(60)
    rows[5], rows[7:12] = np.nan, 0
    groups = community_detection(rows, 0.5, min_community_size=1)
    assert [5] not in groups and not {5, 7, 8, 9, 10, 11} & {row for g in groups for row in g}
    everywhere = community_detection(rows, -1.0, min_community_size=1)
    assert sorted(everywhere[0]) == [row for row in range(60) if row != 5]


def test_memory_does_not_grow_with_the_size_of_the_groups():
    """Of 20,000 rows that are all alike each proposes a group of all."""
    rows = np.ones((20_000, 8), np.float32) + 0.01 * matrix(20_000)
    tracemalloc.start()
    groups = community_detection(rows, threshold=0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(group) for group in groups] == [20_000]
    assert peak < 100e6
