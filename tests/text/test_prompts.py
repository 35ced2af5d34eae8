"""Which prompt is used."""

import pytest

from sentune.errors import SettingError
from sentune.text import prompts

PROMPTS = {"query": "query: ", "passage": "passage: ", "": ""}


@pytest.mark.parametrize(
    ("prompt", "name", "default", "result"),
    [
        (None, None, None, None),
        (None, "query", None, "query: "),
        (None, None, "passage", "passage: "),
        (None, "query", "passage", "query: "),
        ("own: ", None, "passage", "own: "),
        ("", None, "passage", ""),
    ],
)
def test_resolution(prompt, name, default, result):
    assert prompts.resolve(PROMPTS, prompt, name, default) == result


def test_a_prompt_wins_over_a_name_and_says_so(caplog):
    assert prompts.resolve(PROMPTS, "own: ", "query") == "own: "
    assert "query" in caplog.text


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(SettingError, match="'quarry'.*passage.*query"):
        prompts.resolve(PROMPTS, prompt_name="quarry")


def test_the_first_of_several_names():
    assert prompts.first_name(PROMPTS, prompts.DOCUMENT_NAMES) == "passage"
    assert prompts.first_name({}, prompts.DOCUMENT_NAMES) is None


def test_none_given_leaves_a_prompt_to_the_files():
    stored = {"query": "q: ", "passage": "p: "}
    given = {"query": None, "passage": "", "other": None}
    assert prompts.joined(stored, given) == {
        **{"query": "q: ", "document": "", "passage": "", "other": ""}
    }
    assert prompts.joined(stored, None) == {"query": "q: ", "document": "", "passage": "p: "}
    assert prompts.joined({}, {"query": None}) == {"query": "", "document": ""}
