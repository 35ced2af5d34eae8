"""Nested rows and lists per row, spread out."""

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

from sentune.data.nested import spread
from sentune.errors import DatasetError, InputTypeError, SettingError

GUIDE = [
    {"set": {"query": "q1", "pos": ["p1"], "neg": ["n1", "n2", "n3"]}},
    {"set": {"query": "q2", "pos": ["p2", "p3"], "neg": ["n4", "n5"]}},
]
GUIDE_SPREAD = [
    {"query": "q1", "pos": "p1", "neg": "n1"},
    {"query": "q2", "pos": "p2", "neg": "n4"},
    {"query": "q2", "pos": "p3", "neg": "n5"},
]


def test_the_guides_nested_rows_become_triplets():
    assert spread(GUIDE) == GUIDE_SPREAD


def test_the_guides_nested_dataset_becomes_a_flat_one():
    found = spread(Dataset.from_list(GUIDE))
    assert found.column_names == ["query", "pos", "neg"]
    assert found.to_list() == GUIDE_SPREAD


def test_every_part_of_a_dataset_dict_is_spread_out():
    found = spread(DatasetDict(train=Dataset.from_list(GUIDE), test=Dataset.from_list(GUIDE[:1])))
    assert isinstance(found, DatasetDict)
    assert found["train"].to_list() == GUIDE_SPREAD
    assert found["test"].num_rows == 1


def test_a_stream_stays_a_stream():
    found = spread(
        IterableDataset.from_generator(lambda: iter(GUIDE)).cast(Dataset.from_list(GUIDE).features)
    )
    assert isinstance(found, IterableDataset)
    assert list(found) == GUIDE_SPREAD


def test_several_negatives_become_numbered_columns_taken_in_turn():
    row = {"query": "q", "pos": ["a", "b"], "neg": ["1", "2", "3"]}
    assert spread([row], negatives=2) == [
        {"query": "q", "pos": "a", "neg_1": "1", "neg_2": "2"},
        {"query": "q", "pos": "b", "neg_1": "3", "neg_2": "1"},
    ]


@pytest.mark.parametrize(
    ("row", "becomes"),
    [
        ({"q": "q", "pos": ["a", "b"]}, [{"q": "q", "pos": "a"}, {"q": "q", "pos": "b"}]),
        (
            {"anchor": "a", "positive": "p", "negatives": ["n", "m"]},
            [{"anchor": "a", "positive": "p", "negatives": "n"}],
        ),
        (
            {"q": "q", "hard_negatives": ["n"], "docs": ["a", "b"]},  # told by name
            [{"q": "q", "docs": "a", "hard_negatives": "n"}]
            + [{"q": "q", "docs": "b", "hard_negatives": "n"}],
        ),
        (
            {"q": "q", "docs": ["a", "b"], "scores": [0.9, 0.1]},
            [{"q": "q", "docs_1": "a", "docs_2": "b", "scores": [0.9, 0.1]}],
        ),
        (
            {"set": ["a", "b", "c"]},
            [
                {"anchor": "a", "positive": "b"},
                {"anchor": "a", "positive": "c"},
                {"anchor": "b", "positive": "c"},
            ],
        ),
        (
            {"q": "q", "pos": ["a", "b"], "label": 0.5},
            [{"q": "q", "pos": "a", "label": 0.5}, {"q": "q", "pos": "b", "label": 0.5}],
        ),
        ({"a": "a", "b": "b", "label": 1}, [{"a": "a", "b": "b", "label": 1}]),
        ({"text": "a", "label": [0.1, 0.2]}, [{"text": "a", "label": [0.1, 0.2]}]),
        ({"q": "q", "pos": []}, []),
    ],
)
def test_every_row_of_the_table(row, becomes):
    assert spread([row]) == becomes


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            [GUIDE[0], {"set": {"query": "q", "pos": ["a"], "neg": []}}],
            "row 1 has 0 texts in 'neg'",
        ),
        ([{"q": "q", "docs": ["a"], "scores": [1, 2]}], "row 0 has 1 texts in 'docs' and 2 scores"),
        ([{"a": ["x"], "b": ["y"], "c": ["z"]}], "row 0 cannot be spread out"),
        ([{"a": "x", "b": ["y"], "c": ["z"], "d": ["u"]}], "row 0 cannot be spread out"),
    ],
)
def test_rows_that_cannot_be_spread_out_are_named(rows, text):
    with pytest.raises(DatasetError, match=text):
        spread(rows)


def test_rows_of_a_dataset_must_give_the_same_columns():
    rows = [
        {"q": "q", "docs": ["a"], "scores": [1.0]},
        {"q": "q", "docs": ["a"] * 2, "scores": [1.0] * 2},
    ]
    with pytest.raises(DatasetError, match="row 1 becomes q, docs_1, docs_2, scores"):
        spread(Dataset.from_list(rows))


def test_wrong_arguments_are_refused():
    with pytest.raises(SettingError, match="at least 1"):
        spread(GUIDE, negatives=0)
    with pytest.raises(InputTypeError, match="list of dicts"):
        spread("text")
    with pytest.raises(InputTypeError, match="row 0 is a str"):
        spread(["text"])
