"""Token ids as transformers gives them, from any number of threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sentune.errors import InputError
from sentune.text.tokens import TokenReader
from tests import tiny


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request):
    return tiny.tokenizer(request.param)


def rows_of(features):
    return [
        part.tolist()
        for part in np.split(features["input_ids"], np.cumsum(features["lengths"])[:-1])
    ]


def test_ids_are_those_of_the_tokenizer(tokenizer, texts):
    assert rows_of(TokenReader(tokenizer, 64).read(texts)) == tokenizer(texts)["input_ids"]


@pytest.mark.parametrize("limit", [3, 5, 8])
def test_texts_and_pairs_are_cut_as_the_tokenizer_cuts(tokenizer, texts, limit):
    pairs = [(a, b) for a, b in zip(texts, texts[::-1])]
    reader = TokenReader(tokenizer, limit)
    for items in (texts, pairs if limit > 4 else texts):
        arguments = (items,) if items is texts else ([p[0] for p in items], [p[1] for p in items])
        expected = tokenizer(*arguments, truncation="longest_first", max_length=limit)["input_ids"]
        features = reader.read(items)
        assert rows_of(features) == expected
        full = tokenizer(*arguments)["input_ids"]
        assert features.get("truncated", 0) == sum(len(ids) > limit for ids in full) > 0


def test_a_tokenizer_written_in_python_gives_the_same(tokenizer, texts, monkeypatch):
    fast = TokenReader(tokenizer, 6).read(texts)
    slow = TokenReader(tokenizer, 6)
    slow._core = None
    again = slow.read(texts)
    assert rows_of(again) == rows_of(fast)
    assert again["truncated"] == fast["truncated"]


def test_the_prompt_is_counted_without_the_last_separator(tokenizer):
    reader = TokenReader(tokenizer, 64)
    features = reader.read(["a dog", ""], prompt="query the ")
    assert rows_of(features) == tokenizer(["query the a dog", "query the "])["input_ids"]
    assert features["prompt_lengths"] == [3, 3]  # the first special token and two words


def test_no_limit(tokenizer):
    assert TokenReader(tokenizer, None).read(["cat " * 500])["lengths"] == [502]


def test_a_lone_surrogate_names_its_row(tokenizer):
    with pytest.raises(InputError, match="row 1 has a lone surrogate"):
        TokenReader(tokenizer, 64).read(["fine", "bad \ud800"])


def test_many_threads_at_once(tokenizer, texts):
    reader = TokenReader(tokenizer, 8)
    expected = rows_of(reader.read(texts))
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda _: rows_of(reader.read(texts)), range(200))
    assert all(result == expected for result in results)
