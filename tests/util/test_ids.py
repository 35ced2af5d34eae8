"""Ids become texts, as with sentence-transformers and by hand."""

import pickle

import pytest
from datasets import Dataset, DatasetDict

from sentune import resolve_ids
from sentune.errors import InputError, InputTypeError, SettingError

QUERIES = Dataset.from_dict({"query_id": ["q1", "q2"], "text": ["one", "two"]})
DOCUMENTS = Dataset.from_dict(
    {"id": [3, 1, 2, 1], "text": ["c", "old", "b", "a"], "title": list("wxyz")}
)
TRAIN = Dataset.from_dict(
    {
        "query_id": ["q2", "q1"],
        "document_ids": [[1, 2, 3], [3, 2, 1]],
        "scores": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]],
        "other": [1, 2],
    }
)
LOOKUPS = {"query_id": QUERIES, "document_ids": (DOCUMENTS, "id", "text")}


def libraries():
    peer = pytest.importorskip("sentence_transformers.util")
    return resolve_ids, peer.resolve_ids


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_list_length": 2},
        {"output_format": "lists"},
        {"output_format": "lists", "max_list_length": 1},
        {"keep_columns": ["other", "missing"]},
    ],
)
def test_rows_are_those_of_sentence_transformers(options):
    found = []
    for make in libraries():
        data = Dataset.from_dict(TRAIN.to_dict())
        data.set_transform(make(LOOKUPS, **options))
        found.append((data[:], data[0], pickle.loads(pickle.dumps(data))[1]))
    assert found[0] == found[1]


def test_ids_become_texts_in_the_order_of_the_lookups():
    rows = resolve_ids(LOOKUPS)(TRAIN.to_dict())
    assert list(rows) == ["query", "document_1", "document_2", "document_3", "scores"]
    assert rows["query"] == ["two", "one"]
    assert rows["document_1"] == ["a", "c"]  # of equal ids the last one


def test_lists_may_be_text_and_ids_of_any_kind():
    batch = {"document_ids": ["[1, 2]", "[3, 3]"], "scores": ["[0.5, 1]", "[2, 3]"]}
    rows = resolve_ids({"document_ids": (DOCUMENTS, "id", "text")}, max_list_length=1)(batch)
    assert rows == {"document_1": ["a", "c"], "scores": [[0.5], [2]]}
    mixed = Dataset.from_dict({"id": [1.5, 2.5], "v": ["x", "y"]})
    assert resolve_ids({"a_idx": mixed})({"a_idx": [2.5]}) == {"a": ["y"]}
    wide = Dataset.from_dict({"id": ["k" * 500, "b"], "v": ["x", "y"]})
    assert resolve_ids({"a": wide})({"a": ["b", "k" * 500]}) == {"a": ["y", "x"]}
    lists = resolve_ids({"entity_ids": mixed}, output_format="lists")
    assert lists({"entity_ids": [[1.5], [2.5, 1.5], []]}) == {"entities": [["x"], ["y", "x"], []]}


def test_what_cannot_be_found_is_named():
    with pytest.raises(KeyError, match="'query_id' has the id 'q3'"):
        resolve_ids({"query_id": QUERIES})({"query_id": ["q1", "q3"]})
    with pytest.raises(KeyError, match="has the id '1'"):
        resolve_ids({"x_id": (DOCUMENTS, "id", "text")})({"x_id": ["1"]})
    with pytest.raises(InputError, match="'title'.*name them"):
        resolve_ids({"x_id": DOCUMENTS})
    with pytest.raises(InputError, match="no column 'nothing'"):
        resolve_ids({"x_id": (DOCUMENTS, "id", "nothing")})
    for wrong in ({"a": [1]}, DatasetDict(train=QUERIES), (QUERIES, "a", "b", "c")):
        with pytest.raises(InputTypeError, match="must be a Dataset"):
            resolve_ids({"x_id": wrong})
    with pytest.raises(InputError, match="set max_list_length"):
        resolve_ids(LOOKUPS)({"query_id": ["q1", "q2"], "document_ids": [[1], [1, 2]]})
    with pytest.raises(InputError, match="named 'query'"):
        two = {"query_id": QUERIES, "query_idx": QUERIES}
        resolve_ids(two)({"query_id": ["q1"], "query_idx": ["q1"]})
    with pytest.raises(InputError, match="lists as text"):
        resolve_ids({"query_id": QUERIES})({"query_id": ["[1, 2"]})
    with pytest.raises(SettingError, match="'columns' or 'lists'"):
        resolve_ids({}, output_format="x")
    with pytest.raises(SettingError, match="max_list_length"):
        resolve_ids({}, max_list_length=0)
    with pytest.raises(InputTypeError, match="keep_columns"):
        resolve_ids({}, "label")
    with pytest.raises(InputTypeError, match="with_format"):
        resolve_ids({"query_id": QUERIES})(QUERIES.with_format("numpy")[:])
