"""Datasets of every kind become numbered rows."""

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, Value

from sentune.data.example import InputExample
from sentune.errors import DatasetError
from sentune.training.dataset_rows import NumberedRows, StreamedRows, as_dataset, has_labels


def letters(text):
    return Dataset.from_dict({"a": list(text)})


def test_rows_know_their_number_and_their_dataset():
    rows = NumberedRows({"one": letters("xy"), "two": letters("uvw")})
    assert len(rows) == 5
    assert rows[1] == {"a": "y", "__row__": 1, "dataset_name": "one"}
    assert rows.__getitems__([4, 2]) == [
        {"a": "w", "__row__": 2, "dataset_name": "two"},
        {"a": "u", "__row__": 0, "dataset_name": "two"},
    ]


def test_rows_of_several_datasets_keep_their_order():
    rows = NumberedRows({"one": letters("xy"), "two": letters("uvw")})
    assert [row["a"] for row in rows.__getitems__([4, 0, 2])] == ["w", "x", "u"]


def test_a_single_dataset_has_no_name():
    assert NumberedRows({None: letters("x")})[0] == {"a": "x", "__row__": 0}


def test_streams_are_counted_and_told_the_epoch():
    class Stream:
        epoch = 0

        def __iter__(self):
            return iter([{"a": f"{letter}{self.epoch}"} for letter in "xy"])

        def set_epoch(self, epoch):
            self.epoch = epoch

    rows = StreamedRows(Stream())
    rows.set_epoch(3)
    assert list(rows) == [{"a": "x3", "__row__": 0}, {"a": "y3", "__row__": 1}]


def test_examples_become_columns():
    examples = [InputExample(texts=["a", "b"], label=0.5), InputExample(texts=["c", "d"], label=1)]
    dataset = as_dataset(examples, "train_dataset")
    assert dataset.to_dict() == {
        "sentence_0": ["a", "c"],
        "sentence_1": ["b", "d"],
        "label": [0.5, 1.0],
    }


def test_examples_with_no_label_but_the_default_have_no_label_column():
    examples = [InputExample(texts=["a"]), InputExample(texts=["b"])]
    assert as_dataset(examples, "train_dataset").column_names == ["sentence_0"]


@pytest.mark.parametrize("label", [1, 0.5, [0, 0], np.zeros(2), "x"])
def test_what_counts_as_a_label(label):
    assert has_labels([InputExample(texts=["a"]), InputExample(texts=["b"], label=label)])
    assert not has_labels([InputExample(texts=["a"], label=0), InputExample(texts=["b"])])


def test_uneven_examples_are_named_as_fit_names_them():
    examples = [InputExample(texts=["a", "b"]), InputExample(texts=["c", "d"]), InputExample()]
    with pytest.raises(DatasetError, match=r"as many texts each.*: row 2 has 0 and row 0 has 2"):
        as_dataset(examples, "train_dataset")


def test_examples_among_other_rows_are_refused():
    with pytest.raises(DatasetError, match=r"must give InputExamples, got \['dict'\]"):
        as_dataset([InputExample(texts=["a"]), {"a": "b"}], "train_dataset")


def test_examples_of_another_class_are_read():
    class Other:
        texts, label = ["a", "b"], 1

    rows = {"sentence_0": ["a"], "sentence_1": ["b"], "label": [1]}
    assert as_dataset([Other()], "train_dataset").to_dict() == rows


def test_dicts_become_columns_in_the_order_of_the_first():
    dataset = as_dataset([{"b": "1", "a": "2"}, {"a": "3", "b": "4"}], "train_dataset")
    assert dataset.to_dict() == {"b": ["1", "4"], "a": ["2", "3"]}


def test_dicts_of_datasets_keep_their_names():
    given = DatasetDict({"x": letters("ab"), "y": letters("c")})
    assert list(as_dataset(given, "train_dataset")) == ["x", "y"]
    assert as_dataset({"x": [{"a": "1"}]}, "train_dataset")["x"].column_names == ["a"]


def test_a_plain_torch_dataset_passes():
    class Rows:
        def __len__(self):
            return 2

        def __getitem__(self, place):
            return {"a": str(place)}

    assert NumberedRows({None: as_dataset(Rows(), "train_dataset")})[1]["a"] == "1"


def stream(features=None):
    return IterableDataset.from_generator(lambda: iter([{"a": "x"}]), features=features)


def test_a_stream_passes_if_its_columns_are_known():
    assert as_dataset(stream(Features({"a": Value("string")})), "train_dataset")
    with pytest.raises(DatasetError, match="does not say which columns it has; give it features"):
        as_dataset(stream(), "train_dataset")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "train_dataset is an empty dict"),
        ("rows.csv", "got str"),
        (["text"], r"must hold dicts or InputExamples; got \['str'\]"),
        ([], "must hold dicts or InputExamples; got nothing"),
        ([{"a": "x"}, {"b": "y"}], r"row 1 has \['b'\] and row 0 has \['a'\]"),
        ([{"dataset_name": "x"}], r"reserved names \['dataset_name'\]"),
        ({"x": stream(Features({"a": Value("string")}))}, "only be read from front to back"),
    ],
)
def test_what_is_no_dataset_is_refused(given, message):
    with pytest.raises(DatasetError, match=message):
        as_dataset(given, "train_dataset")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"b": ["x", 7, "y"]}, "column 'b' has numbers or bytes in place of texts in row 1"),
        ({"b": ["x", "y", float("nan")]}, "column 'b' has no text in row 2"),
        ({"b": ["x", ["y"], "z"]}, "column 'b' has lists in row 1; spread them out"),
        ({"score": [0.5, 1.0, "high"]}, "label column 'score' holds something .* in row 2"),
        ({"score": [0.5, [1.0], 0.1]}, ".+"),
    ],
)
def test_a_column_of_several_kinds_of_cells_is_refused_with_its_rows(cells, expected):
    columns = {"a": ["p", "q", "r"], **cells}
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    with pytest.raises(DatasetError, match=f"train_dataset: {expected}"):
        as_dataset(rows, "train_dataset")


def test_a_table_of_another_library_is_sent_to_the_function_that_reads_it():
    table = pytest.importorskip("pandas").DataFrame({"a": ["x"], "b": ["y"]})
    with pytest.raises(DatasetError, match=r"a table of pandas; .*from_pandas\(table"):
        as_dataset(table, "train_dataset")


def test_columns_in_place_of_rows_are_sent_to_the_function_that_reads_them():
    with pytest.raises(DatasetError, match=r"got \['str'\]. Columns become .*from_dict"):
        as_dataset({"anchor": ["x"], "positive": ["y"]}, "train_dataset")
