"""Tokens are read once, come back as they were read, and are not mistaken for another text's."""

import numpy as np
import pytest
import torch

from sentune.text import layouts
from sentune.text.store import Budget, TokenStore


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
    store = TokenStore(reader, Budget(100))  # three pieces in memory, the others in files
    texts = {7 * n: "x" * (n % 12) + str(n) for n in range(300)}
    store.take(list(texts), list(texts.values()))
    same(store.take(list(texts), list(texts.values())), Reader()(list(texts.values())))
    assert len(reader.asked) == len(texts)
    kinds = [isinstance(piece, np.memmap) for piece in store._pieces]
    assert not kinds[0] and kinds[-1]


# Budget and growth --------------------------------------------------------------------------------


def held(store):
    """Tokens in pieces, and bytes of all that counts towards the budget."""
    tokens = sum(map(len, store._pieces[:-1])) + store._used
    return tokens, sum(piece.nbytes for piece in store._pieces) + store._known.nbytes


def words(rng, size=6):
    return "".join(rng.choice(list("abcdefgh"), size=rng.integers(1, size)))


def epochs(store, texts_of, count, rng, batch=16):
    """Each epoch asks for each text once, in any order; every batch is what its texts are read as.

    `texts_of(epoch)` gives the texts. Yields how many of them were read.
    """
    for epoch in range(count):
        texts, asked = texts_of(epoch), len(store.read.asked)
        order = rng.permutation(len(texts)).tolist()
        for start in range(0, len(order), batch):
            numbers = order[start : start + batch]
            given = [texts[number] for number in numbers]
            same(store.take(numbers, given), Reader()(given))
        yield len(store.read.asked) - asked


@pytest.mark.parametrize("piece", [32, 1 << 14])
def test_texts_drawn_anew_in_every_epoch_take_the_room_of_one_version(piece, monkeypatch):
    monkeypatch.setattr("sentune.text.store._SMALL_PIECE", piece)
    rng, store = np.random.default_rng(0), TokenStore(Reader())
    sizes = []
    for read in epochs(store, lambda _: [words(rng) + f" {n}" for n in range(200)], 30, rng):
        assert read >= 180  # a few are the same again
        sizes.append(held(store)[0])
    assert max(sizes) < 1.75 * sizes[0]


def test_texts_that_stay_are_read_once_while_others_are_drawn_anew(monkeypatch):
    monkeypatch.setattr("sentune.text.store._SMALL_PIECE", 64)
    rng, store = np.random.default_rng(0), TokenStore(Reader())
    plain = [words(rng) for _ in range(200)]

    def texts(epoch):
        return [f"{epoch} {text}" if n % 4 == 0 else text for n, text in enumerate(plain)]

    counts = list(epochs(store, texts, 20, rng))
    assert counts == [200] + [50] * 19
    alive = sum(map(len, texts(0)))
    assert held(store)[0] < 1.75 * alive


def test_a_number_that_comes_twice_in_a_batch_leaves_nothing_behind():
    rng, store = np.random.default_rng(0), TokenStore(Reader())
    for _ in range(300):
        texts = [words(rng) for _ in range(8)]
        same(store.take([0, 1, 2, 3] * 2, texts), Reader()(texts))
    assert held(store)[0] < 200


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_kept_stays_within_the_budget_and_as_much_is_found(on_disk, monkeypatch):
    monkeypatch.setattr("sentune.text.store._SMALL_PIECE", 32)
    rng = np.random.default_rng(0)
    texts = [words(rng, 12) for _ in range(1000)]
    table, half = 24 * 1024, 4 * sum(map(len, texts)) // 2
    sizes = (100, table + half) if on_disk else (table + half, 0)
    store = TokenStore(Reader(), Budget(*sizes))
    for read in list(epochs(store, lambda _: texts, 6, rng))[1:]:
        assert 450 <= read <= 650
        assert held(store)[1] <= sum(sizes)
    assert store.budget.memory_bytes >= 0 and store.budget.disk_bytes >= 0
    assert sum(sizes) - store.budget.memory_bytes - store.budget.disk_bytes == held(store)[1]


def test_what_is_asked_for_no_more_gives_way_to_what_is(monkeypatch):
    monkeypatch.setattr("sentune.text.store._SMALL_PIECE", 64)
    rng = np.random.default_rng(0)
    texts = [words(rng, 12) for _ in range(1200)]
    room = 24 * 1200 + 4 * sum(map(len, texts)) // 2
    store = TokenStore(Reader(), Budget(room, 0))
    store.take([1199], [texts[1199]])  # the table has its length
    assert list(epochs(store, lambda _: texts[:600], 4, rng))[-1] < 150
    later = [*texts[600:]]
    counts = []
    for _ in range(8):
        asked = len(store.read.asked)
        for start in range(0, 600, 20):
            numbers = list(range(600 + start, 620 + start))
            given = later[start : start + 20]
            same(store.take(numbers, given), Reader()(given))
        counts.append(len(store.read.asked) - asked)
    assert counts[0] > 500 and counts[-1] < 150 and held(store)[1] <= room


def test_stores_share_a_budget(monkeypatch):
    monkeypatch.setattr("sentune.text.store._SMALL_PIECE", 32)
    rng, budget = np.random.default_rng(0), Budget(2 * 24 * 1024 + 4000, 2000)
    stores = [TokenStore(Reader(), budget) for _ in range(2)]
    columns = [[words(rng, 12) for _ in range(600)] for _ in stores]
    for start in [*range(0, 600, 20)] * 2:
        for store, texts in zip(stores, columns):
            given = texts[start : start + 20]
            same(store.take(list(range(start, start + 20)), given), Reader()(given))
    total = sum(held(store)[1] for store in stores)
    assert 2 * 24 * 1024 < total <= 2 * 24 * 1024 + 6000
    assert budget.memory_bytes + budget.disk_bytes == 2 * 24 * 1024 + 6000 - total


def test_numbers_beyond_the_table_share_its_entries():
    rng, budget = np.random.default_rng(0), Budget(24 * 1024 + (64 << 10), 0)
    store, largest = TokenStore(Reader(), budget), 10**12
    for _ in range(200):
        numbers = rng.integers(0, largest, size=8).tolist()
        texts = [words(rng) for _ in numbers]
        numbers[0], texts[0] = 7, "always"
        same(store.take(numbers, texts), Reader()(texts))
    assert len(store._known) <= 1024
    assert held(store)[1] <= 24 * 1024 + (64 << 10)


@pytest.mark.parametrize("budget", [Budget(0, 0), Budget(24 * 1024, 0)])
def test_without_any_room_texts_are_read_each_time(budget):
    store, texts = TokenStore(Reader(), budget), ["one", "three", ""]
    for _ in range(3):
        same(store.take([0, 5, 9], texts), Reader()(texts))
    assert store.read.asked == texts * 3 and not store._pieces


def test_a_full_disk_is_as_no_room(monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    budget = Budget(24 * 1024, 1 << 30)
    store, texts = TokenStore(Reader(), budget), ["one", "three"]
    for _ in range(2):
        same(store.take([0, 1], texts), Reader()(texts))
    assert len(store.read.asked) == 4 and budget.disk_bytes == 1 << 30


@pytest.mark.parametrize("seed", range(20))
def test_tokens_are_right_and_the_budget_is_kept_whatever_happens(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr("sentune.text.store._SMALL_PIECE", int(rng.integers(1, 64)))
    monkeypatch.setattr("sentune.text.store._PIECE", int(rng.integers(8, 256)))
    sizes = int(rng.integers(0, 40_000)), int(rng.integers(0, 40_000))
    budget = Budget(*sizes)
    stores = [TokenStore(Reader(), budget) for _ in range(2)]
    texts = {}
    for step in range(300):
        store = int(rng.integers(2))
        first = 100 * (step // 100) * int(rng.integers(2))
        numbers = (first + rng.integers(0, 150, size=rng.integers(1, 20))).tolist()
        for number in numbers:
            if number not in texts or rng.random() < 0.2:
                texts[number] = words(rng, int(rng.integers(2, 30)))
        given = [texts[number] for number in numbers]
        same(stores[store].take(numbers, given), Reader()(given))
        left = budget.memory_bytes, budget.disk_bytes
        assert min(left) >= 0
        assert sum(sizes) - sum(left) == sum(held(one)[1] for one in stores)


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
