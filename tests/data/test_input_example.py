"""InputExample as users of the peer know it."""

import pickle

import pytest

from sentune.data.example import InputExample
from sentune.errors import InputTypeError


def test_the_defaults_are_the_peers():
    example = InputExample()
    assert (example.guid, example.texts, example.label) == ("", None, 0)


def test_arguments_come_in_the_peers_order():
    example = InputExample("row-1", ["a", "b"], 0.5)
    assert (example.guid, example.texts, example.label) == ("row-1", ["a", "b"], 0.5)


def test_repr_shows_how_to_make_it_again():
    example = InputExample(texts=["a"], label=2)
    assert repr(example) == "InputExample(guid='', texts=['a'], label=2)"
    assert eval(repr(example)).texts == ["a"]


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (InputExample(texts=["a", "b"], label=1), "<InputExample> label: 1, texts: a; b"),
        (InputExample(), "<InputExample> label: 0, texts: "),
    ],
)
def test_str_is_the_peers(example, text):
    assert str(example) == text


def test_two_rows_with_the_same_texts_stay_two_rows():
    rows = {InputExample(texts=["a"]), InputExample(texts=["a"])}
    assert len(rows) == 2


def test_it_travels_to_the_workers_of_a_data_loader():
    assert pickle.loads(pickle.dumps(InputExample(texts=["a"], label=0.5))).label == 0.5


def test_one_string_instead_of_a_list_is_an_error():
    with pytest.raises(InputTypeError, match="list of strings"):
        InputExample(texts="a sentence")
