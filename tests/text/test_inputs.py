"""What a user may hand over, and what is said about the rest."""

import numpy as np
import pytest

from sentune.errors import InputTypeError
from sentune.text import inputs


@pytest.mark.parametrize(
    ("given", "items", "is_single"),
    [
        ("a", ["a"], True),
        (["a", "b"], ["a", "b"], False),
        (("a", "b"), ["a", "b"], False),
        ([("a", "b")], [("a", "b")], False),
        ({"query": "a"}, [{"query": "a"}], True),
        (np.array(["a", "b"]), ["a", "b"], False),
        ((text for text in "ab"), ["a", "b"], False),
        ([], [], False),
    ],
)
def test_what_may_be_given(given, items, is_single):
    assert inputs.as_items(given) == (items, is_single)


@pytest.mark.parametrize(
    "bad", [None, 3, 2.5, float("nan"), b"bytes", ("a", "b", "c"), ("a", 1), {}]
)
def test_a_row_that_is_no_text_is_named(bad):
    with pytest.raises(InputTypeError, match="row 1 is"):
        inputs.as_items(["fine", bad])


@pytest.mark.parametrize("bad", [None, 3, b"bytes"])
def test_what_is_no_input_at_all(bad):
    with pytest.raises(InputTypeError, match="a text must be a str"):
        inputs.as_items(bad)


def test_the_error_is_a_type_error_and_a_value_error():
    for kind in (TypeError, ValueError):
        with pytest.raises(kind):
            inputs.as_items([None])


def test_a_long_bad_value_is_shortened():
    with pytest.raises(InputTypeError) as error:
        inputs.as_items([list(range(1000))])
    assert len(str(error.value)) < 300


def test_a_lone_surrogate_is_found():
    error = inputs.bad_unicode(["fine", ("ok", "bad \ud83d here")])
    assert "row 1" in str(error) and "U+D83D" in str(error) and "character 4" in str(error)
    assert inputs.bad_unicode(["emoji 😀", "עברית"]) is None


def test_a_prefix_goes_before_the_first_text():
    assert inputs.with_prefix("a", "p: ") == "p: a"
    assert inputs.with_prefix(("a", "b"), "p: ") == ("p: a", "b")
    assert inputs.with_prefix({"query": "a"}, "p: ") == {"query": "p: a"}
