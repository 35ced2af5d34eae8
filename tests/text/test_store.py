"""Tokens are read once, come back as they were read, and are not mistaken for another text's."""

import numpy as np
import pytest
import torch

from sentune.text import layouts
from sentune.text.store import TokenStore


class Reader:
    """One token per character; remembers what it was asked."""

    def __init__(self, **extras):
        self.asked = []
        self.extras = extras

    def __call__(self, texts):
        self.asked += texts
        ids = torch.tensor([ord(letter) for text in texts for letter in text], dtype=torch.int64)
        prompts = [min(2, len(text)) for text in texts] if self.extras.get("prompt") else None
        features = layouts.ragged(ids, [len(text) for text in texts], prompt_lengths=prompts)
        return {**features, **{k: v for k, v in self.extras.items() if k != "prompt"}}


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]) if torch.is_tensor(a[key]) else a[key] == b[key]


@pytest.mark.parametrize("extras", [{}, {"prompt": True}, {"task": "query"}])
def test_tokens_come_back_as_they_were_read(extras):
    reader = Reader(**extras)
    store = TokenStore(reader)
    texts = ["one", "", "three", "one", "seventeen"]
    rng = np.random.default_rng(0)
    for _ in range(5):
        numbers = rng.permutation(len(texts))[:4].tolist()
        batch = [texts[number] for number in numbers]
        same(store.take(numbers, batch), Reader(**extras)(batch))
    assert len(reader.asked) <= len(texts), "each text is read once"


def test_another_text_under_a_number_is_read_again():
    reader = Reader()
    store = TokenStore(reader)
    store.take([0, 1], ["a", "b"])
    same(store.take([1, 0], ["b", "new"]), Reader()(["b", "new"]))
    assert reader.asked == ["a", "b", "new"]


def test_numbers_may_be_large_and_pieces_many(monkeypatch):
    monkeypatch.setattr("sentune.text.store._PIECE", 8)
    reader = Reader()
    store = TokenStore(reader, in_memory=100)  # three pieces in memory, the others in files
    texts = {7 * n: "x" * (n % 12) + str(n) for n in range(300)}
    store.take(list(texts), list(texts.values()))
    same(store.take(list(texts), list(texts.values())), Reader()(list(texts.values())))
    assert len(reader.asked) == len(texts)
    kinds = [isinstance(piece, np.memmap) for piece in store._pieces]
    assert not kinds[0] and kinds[-1]


def test_what_is_not_a_plain_text_is_passed_through():
    pairs = [("a", "b"), ("c", "d")]
    seen = []
    store = TokenStore(lambda texts: seen.append(texts) or {"texts": texts})
    assert store.take([0, 1], pairs) == store.take([0, 1], pairs) == {"texts": pairs}
    assert len(seen) == 2


def test_features_that_are_not_only_tokens_are_not_kept():
    reader = Reader(pixels=torch.ones(2))
    store = TokenStore(reader)
    for _ in range(2):
        same(store.take([0, 1], ["a", "b"]), Reader(pixels=torch.ones(2))(["a", "b"]))
    assert len(reader.asked) == 4
