"""One view of whatever rows people have."""

import pytest
from datasets import Dataset, IterableDataset

from sentune.data import columns
from sentune.data.columns import input_columns, label_column, named, portions
from sentune.data.example import InputExample
from sentune.errors import DatasetError, InputTypeError

ROWS = [{"a": "x", "b": "y", "label": 1}, {"a": "u", "b": "v", "label": 0}]
AS_COLUMNS = {"a": ["x", "u"], "b": ["y", "v"], "label": [1, 0]}


def stream():
    return IterableDataset.from_generator(lambda: iter(ROWS))


def together(data, **kwargs):
    found: dict[str, list] = {}
    for portion in portions(data, **kwargs):
        for name, cells in portion.items():
            found.setdefault(name, []).extend(cells)
    return found


@pytest.mark.parametrize(
    "data",
    [ROWS, tuple(ROWS), AS_COLUMNS, Dataset.from_list(ROWS), stream()],
    ids=["list", "tuple", "dict of lists", "Dataset", "IterableDataset"],
)
def test_all_shapes_give_the_same_columns(data):
    assert together(data) == AS_COLUMNS
    assert list(together(data)) == ["a", "b", "label"]


def test_input_examples_become_columns_in_the_order_of_their_texts():
    examples = [InputExample(texts=["x", "y"], label=1), InputExample(texts=["u", "v"], label=0)]
    assert together(examples) == {
        "sentence_0": ["x", "u"],
        "sentence_1": ["y", "v"],
        "label": [1, 0],
    }


@pytest.mark.parametrize("as_data", [list, Dataset.from_list], ids=["list", "Dataset"])
def test_rows_come_in_portions_and_up_to_a_limit(monkeypatch, as_data):
    monkeypatch.setattr(columns, "PORTION", 4)
    data = as_data([{"n": number} for number in range(10)])
    assert [len(portion["n"]) for portion in portions(data)] == [4, 4, 2]
    assert [len(portion["n"]) for portion in portions(data, limit=6)] == [4, 2]
    assert together(data, limit=6) == {"n": [0, 1, 2, 3, 4, 5]}
    assert together(data, limit=4) == {"n": [0, 1, 2, 3]}
    assert together(data, limit=99) == {"n": list(range(10))}


def test_a_shuffled_dataset_is_read_in_its_new_order():
    data = Dataset.from_dict({"n": list(range(10))}).select([5, 2, 9])
    assert together(data) == {"n": [5, 2, 9]}


def test_values_are_plain_whatever_the_format_but_a_transform_is_kept():
    data = Dataset.from_list(ROWS)
    assert type(together(data.with_format("numpy"))["label"][0]) is int
    shouted = data.with_transform(lambda rows: {"a": [text.upper() for text in rows["a"]]})
    assert together(shouted) == {"a": ["X", "U"]}


@pytest.mark.parametrize("rows", [[ROWS[0], {"a": "x"}], [ROWS[0], {"b": "", "a": "", "label": 1}]])
def test_rows_with_other_columns_are_named(rows):
    with pytest.raises(DatasetError, match="row 1 has the columns"):
        together(rows)


def test_examples_with_different_numbers_of_texts_are_named():
    with pytest.raises(DatasetError, match="row 1"):
        together([InputExample(texts=["a", "b"]), InputExample(texts=["a"])])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(DatasetError, match="equally long"):
        together({"a": ["x"], "b": ["y", "z"]})


@pytest.mark.parametrize("data", ["text", 7, None])
def test_something_else_is_refused_with_what_is_allowed(data):
    with pytest.raises(InputTypeError, match="list of InputExamples"):
        together(data)


def test_a_row_of_something_else_is_named():
    with pytest.raises(InputTypeError, match="row 1 is a list"):
        together([{"a": "x"}, ["x"]])


def test_labels_are_told_from_inputs_by_name():
    names = ["question", "score", "answer"]
    assert input_columns(names) == ["question", "answer"]
    assert label_column(names) == "score"
    assert label_column(["question"]) is None
    with pytest.raises(DatasetError, match="score and label"):
        label_column(["score", "a", "label"])


def test_datasets_of_a_dict_have_names_and_a_single_one_has_none():
    one, two = Dataset.from_list(ROWS), [InputExample(texts=["a"])]
    assert named({"one": one, "two": two}) == {"one": one, "two": two}
    assert named(one) == {"": one}
    assert named(AS_COLUMNS) == {"": AS_COLUMNS}
