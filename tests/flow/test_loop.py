"""The loop from items to rows: order, windows, iterators that fail or never end, threads."""

import itertools
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from sentune.errors import InputError, InputTypeError
from sentune.flow import loop
from sentune.flow.sinks import Whole
from sentune.text import layouts


class Letters:
    """Computes of each text `(2,)`: its first letter and its length. It knows nothing of torch."""

    def __init__(self, *, reads_ragged=True, as_list=False, truncates=0):
        self.reads_ragged = reads_ragged
        self.as_list = as_list
        self.truncates = truncates
        self.batches, self.said, self.inside = [], [], 0

    def read(self, items):
        ids = [np.frombuffer(item.encode(), np.uint8).astype(np.int64) for item in items]
        lengths = [len(row) for row in ids]
        tokens = np.concatenate(ids) if ids else np.zeros(0, np.int64)
        found = layouts.ragged(tokens, lengths, truncated=self.truncates)
        return found if self.reads_ragged else {"tokens": ids, "lengths": lengths}

    def tokens_per_batch(self):
        return 40

    @contextmanager
    def working(self):
        self.inside += 1
        yield
        self.inside -= 1

    def compute(self, features):
        assert self.inside == 1
        lengths = features["lengths"]
        self.batches.append(lengths)
        ids = features.get("tokens")
        if ids is None:
            ids = np.split(features["input_ids"], np.cumsum(lengths)[:-1])
        rows = [np.array([row[0] if len(row) else 0, len(row)], np.float32) for row in ids]
        return rows if self.as_list else np.stack(rows)

    def done(self, truncated, items):
        self.said.append((truncated, items))


def texts(n):
    return [chr(97 + k % 26) * (1 + (7 * k) % 13) for k in range(n)]


def expected(items):
    return np.array([[ord(item[0]), len(item)] for item in items], np.float32)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(loop, "FIRST_WINDOW", 5)
    monkeypatch.setattr(loop, "WINDOW", 8)


@pytest.mark.parametrize("reads_ragged", [True, False])
@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
@pytest.mark.parametrize("n", [0, 1, 4, 5, 6, 13, 14, 60])
def test_rows_come_in_the_order_of_the_items(n, batch_size, reads_ragged):
    items = texts(n)
    runner = Letters(reads_ragged=reads_ragged)
    found = loop.run(items, runner, Whole(n), batch_size=batch_size)
    assert found is None if n == 0 else (found == expected(items)).all()
    runner = Letters(reads_ragged=reads_ragged, as_list=True)
    found = loop.run(items, runner, Whole(n), batch_size=batch_size)
    assert n == 0 or (np.stack(found) == expected(items)).all()
    parts = list(loop.windows(iter(items), Letters(reads_ragged=reads_ragged)))
    assert [part.start for part in parts] == list(range(0, n, 5))
    assert n == 0 or (np.concatenate([part.rows for part in parts]) == expected(items)).all()


def test_batches_hold_tokens_or_rows_and_the_longest_come_first():
    by_tokens, by_rows = Letters(), Letters()
    loop.run(texts(60), by_tokens, Whole(60))
    assert max(map(sum, by_tokens.batches)) <= 40
    loop.run(texts(60), by_rows, Whole(60), batch_size=3)
    assert max(map(len, by_rows.batches)) == 3
    assert by_tokens.batches[0][0] == max(map(len, texts(5)))


def test_a_text_of_an_iterator_that_comes_twice_in_a_window_is_computed_once():
    runner = Letters()
    (part,) = loop.windows(iter(["ab", "c", "ab", "c", "ab"]), runner)
    assert sum(map(len, runner.batches)) == 2
    assert (part.rows == expected(["ab", "c", "ab", "c", "ab"])).all()


def test_items_and_truncated_ones_are_counted():
    counted, runner = [], Letters(truncates=2)
    loop.run(texts(20), runner, Whole(20), count=counted.append)
    assert sum(counted) == 20
    assert runner.said == [(6, 20)]  # two of each of three windows


def test_an_endless_iterator_gives_its_first_rows_after_one_window():
    taken = itertools.count()
    source = (chr(97 + next(taken) % 26) for _ in itertools.count())
    found = loop.windows(source, Letters())
    first = next(found)
    assert len(first.rows) == 5 and next(taken) == 5
    assert [next(found).start for _ in range(3)] == [5, 10, 15]
    found.close()


@pytest.mark.parametrize("good", [0, 3, 5, 7, 23])
def test_a_source_that_fails_gives_all_before_it_and_then_its_own_error(good):
    def source():
        yield from texts(good)
        raise OSError("the disk is gone")

    rows = []
    with pytest.raises(OSError, match="the disk is gone"):
        for part in loop.windows(source(), Letters()):
            rows.extend(part.rows)
    assert len(rows) == good and (np.array(rows) == expected(texts(good))).all()


@pytest.mark.parametrize(
    ("bad", "error"), [(None, InputTypeError), (3, InputTypeError), ("\ud800", InputError)]
)
def test_an_item_that_is_no_text_is_named_by_its_number(bad, error):
    rows = []
    with pytest.raises(error, match="row 7"):
        for part in loop.windows(iter([*texts(7), bad, "a"]), Letters()):
            rows.extend(part.rows)
    assert len(rows) == 7


def test_no_thread_is_left_when_the_rows_are_no_longer_wanted():
    def readers():
        return [t for t in threading.enumerate() if t.name.startswith("sentune-read")]

    found = loop.windows(texts(100), Letters())
    next(found)
    assert readers()
    found.close()
    assert not readers()

    class Broken(Letters):
        def compute(self, features):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.run(texts(100), Broken(), Whole(100))
    assert not readers()


def test_an_error_while_reading_ahead_comes_after_the_rows_before_it():
    class Picky(Letters):
        def read(self, items):
            if "g" * 4 in items:
                raise InputError("not this one")
            return super().read(items)

    items = texts(40)
    assert "g" * 4 in items[5:]
    rows = []
    with pytest.raises(InputError, match="not this one"):
        for part in loop.windows(items, Picky()):
            rows.extend(part.rows)
    assert len(rows) >= 5 and (np.array(rows) == expected(items)[: len(rows)]).all()


def test_distinct_items():
    items = ["a", "b", "a", ("a", "b"), ["a", "b"], {"query": "a"}, {"query": "a"}]
    own, places = loop.distinct(items)
    assert own == ["a", "b", ("a", "b"), {"query": "a"}]
    assert places.tolist() == [0, 1, 0, 2, 2, 3, 3]
    assert loop.distinct(["a", "b"])[1] is None
