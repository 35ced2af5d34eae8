"""What one pass over the rows sees."""

import math

import numpy as np
import pytest
from datasets import IterableDataset

from sentune.data import columns
from sentune.data.forms import Label
from sentune.data.profile import Rows, profile


def labels(values):
    return profile({"text": ["t"] * len(values), "label": values})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 1], Label("binary")),
        ([True, False], Label("binary")),
        ([0.0, 1.0], Label("binary")),
        ([0, 1, 2], Label("class")),
        ([7, 7], Label("class")),
        ([0.5, 1.0], Label("score")),
        ([1, 0.5], Label("score")),
        ([np.float32(0.5), np.float32(1)], Label("score")),
        ([np.int64(3), np.int64(4)], Label("class")),
        ([[0.1, 0.2], [0.3, 0.4]], Label("list", 2)),
        ([np.zeros(3), np.ones(3)], Label("list", 3)),
        ([[0.1, 0.2], [0.3]], Label("list", None)),
        ([[[0.1], [0.2]]], Label("matrix")),
        (["cat", "dog"], Label("other")),
        ([1, [1.0]], Label("other")),
        ([None, None], Label("other")),
    ],
)
def test_the_kind_of_label_is_seen(values, kind):
    assert labels(values).kind == kind


def test_a_dataset_without_labels_says_so():
    found = profile({"text": ["a", "b"]})
    assert found.label is None
    assert found.kind == Label("none")
    assert found.words == "1 text column ('text') and no label"


def test_its_words_name_columns_and_labels():
    found = profile({"q": ["a", "b"], "score": [0.5, 2], "d": ["c", "d"]})
    assert found.words == "2 text columns ('q', 'd') and floats (0.5 to 2) in 'score'"
    assert labels([3, 9, 9]).words.endswith("integers (2 different, 3 to 9) in 'label'")


def test_numbers_are_counted_and_their_range_is_known():
    label = labels([3, 1, 3, 2]).label
    assert (label.low, label.high) == (1, 3)
    assert dict(label.counts) == {3: 2, 1: 1, 2: 1}


def test_bad_labels_are_found_with_their_rows():
    label = labels([1.0, None, math.nan, math.inf, "x", [math.nan]]).label
    assert label.missing.first == [1]
    assert label.not_finite.first == [2, 3, 5]
    assert label.foreign.first == [4]


def test_bad_cells_are_found_with_their_rows(monkeypatch):
    monkeypatch.setattr(columns, "PORTION", 2)  # row numbers count on from portion to portion
    cells = ["ok", None, "", " \n", 3, 2.5, b"x", ["a"], {"pos": ["a"]}, math.nan]
    (column,) = profile([{"text": cell} for cell in cells]).inputs
    assert column.missing.first == [1, 9]
    assert column.blank.first == [2, 3]
    assert column.numbers.first == [4, 5, 6]
    assert column.lists.first == [7, 8]
    assert column.characters == 4
    assert column.longest == 2


def test_other_objects_are_left_to_the_model():
    (column,) = profile([{"picture": object()}, {"picture": {"query": "a"}}]).inputs
    assert not (column.missing or column.numbers or column.lists)


def test_constant_and_identical_columns_are_seen(monkeypatch):
    monkeypatch.setattr(columns, "PORTION", 1)
    data = {"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "x"], "d": ["x", "z"]}
    found = profile(data)
    assert found.same == [("a", "b")]
    assert [column.name for column in found.inputs if column.is_constant] == ["c"]


def test_a_limit_bounds_what_is_read_and_is_said():
    rows = [{"a": "x"}] * 10
    assert (profile(rows, limit=3).rows, profile(rows, limit=3).is_whole) == (3, False)
    assert (profile(rows, limit=10).rows, profile(rows, limit=10).is_whole) == (10, True)
    assert profile(rows).is_whole
    stream = IterableDataset.from_generator(lambda: iter(rows))
    assert profile(stream, limit=4).rows == 4
    assert not profile(stream, limit=4).is_whole


def test_a_dataset_without_rows_has_an_empty_profile():
    assert profile([]).rows == 0


def test_many_different_scores_do_not_fill_the_memory():
    label = labels([n / 7 for n in range(5000)]).label
    assert len(label.counts) <= 1000
    assert label.label.kind == "score"
    assert label.high == pytest.approx(4999 / 7)


def test_rows_show_the_first_and_count_the_rest():
    rows = Rows()
    assert not rows
    rows.add(4)
    assert str(rows) == "row 4"
    for row in range(5, 1010):
        rows.add(row)
    assert str(rows) == "rows 4, 5, 6, 7, 8 and 1,001 more"
