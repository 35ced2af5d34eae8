"""Statistics of columns, against loops over their cells."""

import math

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset
from hypothesis import given
from hypothesis import strategies as st

from sentune.data import columns
from sentune.data.profile import profile
from sentune.data.statistics import Column, Spread, size_of, summary


def column(cells, count_tokens=None):
    return summary([{"c": cell} for cell in cells], len(cells), count_tokens).columns["c"]


@given(st.lists(st.lists(st.one_of(st.integers(-100, 100), st.floats(-1e6, 1e6)))))
def test_a_spread_is_that_of_all_numbers_however_they_come(portions):
    found, numbers = Spread(), [number for portion in portions for number in portion]
    for portion in portions:
        found.add(portion)
    assert found.count == len(numbers)
    if numbers:
        assert (found.low, found.high) == (min(numbers), max(numbers))
        assert found.mean == pytest.approx(math.fsum(numbers) / len(numbers), abs=1e-9)
    else:
        assert found == Spread() and found.mean == 0


@pytest.mark.parametrize(
    ("cells", "kind", "sizes"),
    [
        (["a", "bcd", ""], "text", [1, 3, 0]),
        ([None, "ab", None], "text", [2]),
        ([0.5, float("nan"), float("inf"), 2], "number", [0.5, 2]),
        ([np.float32(0.5), np.int64(3)], "number", [0.5, 3]),
        ([torch.tensor(2), torch.tensor(5)], "number", [2, 5]),
        ([10**400, 1], "number", [1]),
        ([[1, 2], (), [3]], "list", [2, 0, 1]),
        ([True, False], "number", [1, 0]),
        ([None, None], "NoneType", []),
        ([b"x", b"y"], "bytes", []),
        ([np.zeros(3)], "ndarray", []),
        (["a", 3, ["l"], "bc"], "text", [1, 2]),
    ],
)
def test_the_first_cell_says_what_a_column_holds(cells, kind, sizes):
    found = column(cells)
    assert found.kind == kind
    assert found.sizes.count == len(sizes) and found.sizes.total == sum(sizes)
    if sizes:
        assert (found.sizes.low, found.sizes.high) == (min(sizes), max(sizes))


@pytest.mark.parametrize(
    ("cells", "counts"),
    [
        ([1, 0, 1, 1], {1: 3, 0: 1}),
        ([True, False, True], {True: 2, False: 1}),
        ([np.int64(4)] * 3, {4: 3}),
        (list(range(10)), dict.fromkeys(range(10), 1)),
        (list(range(11)), None),
        ([1, 2.0], None),
        (["a"], {}),
    ],
)
def test_few_whole_numbers_are_counted(cells, counts, monkeypatch):
    for size in (1000, 2):  # in portions, too
        monkeypatch.setattr(columns, "PORTION", size)
        assert column(cells).counts == counts


def test_a_column_that_begins_with_a_portion_of_nothing_is_known_by_the_next_one():
    found = Column("c")
    found.read([None, None])
    found.read(["ab"])
    assert (found.kind, found.sizes.total) == ("text", 2)


def test_tokens_are_counted_once_for_each_text():
    asked = []

    def count(texts):
        asked.extend(texts)
        return [len(text.split()) for text in texts]

    found = column(["a b", None, "c"], count)
    assert asked == ["a b", "c"]
    assert (found.tokens.low, found.tokens.high, found.tokens.mean) == (1, 2, 1.5)
    assert found.sizes.total == 4


def test_the_first_rows_are_kept_and_no_more_than_asked_for_is_read():
    read = []

    def rows():
        for number in range(1000):
            read.append(number)
            yield {"a": number, "b": str(number)}

    found = summary(IterableDataset.from_generator(rows), 100)
    assert found.rows == 100 and len(read) == 100
    assert found.first == [[number, str(number)] for number in range(5)]
    assert list(found.columns) == ["a", "b"]


def test_a_dataset_without_rows_has_none():
    assert summary([], 10).rows == 0
    assert summary({"a": []}, 10).first == []


def test_how_many_rows_there_are():
    assert size_of(Dataset.from_dict({"a": [1, 2, 3]})) == 3
    assert size_of([{"a": 1}]) == 1
    assert size_of({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}) == 4
    assert size_of({}) == 0
    assert size_of(IterableDataset.from_generator(lambda: iter(()))) is None


def test_a_profile_has_the_lengths_of_the_statistics():
    rows = [{"a": "x", "n": 1}, {"a": "xyz", "n": 2}]
    inputs = profile(rows).inputs
    assert [(one.name, one.characters, one.longest) for one in inputs] == [("a", 4, 3), ("n", 0, 0)]
    assert inputs[0].column == summary(rows, 2).columns["a"]


def test_a_profile_of_columns_is_whole_when_all_their_rows_are_read():
    assert profile({"a": ["x"] * 3, "b": ["y"] * 3}, limit=3).is_whole
    assert not profile({"a": ["x"] * 4, "b": ["y"] * 4}, limit=2).is_whole
