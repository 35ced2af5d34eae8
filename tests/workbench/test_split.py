"""No text is in two parts; parts have the sizes asked for and even shares of each class."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune.errors import SettingError
from sentune.workbench.rows.duplicates import near_duplicates
from sentune.workbench.rows.split import groups_of, samples_of, split


def texts_of(columns, rows):
    return {column[row].casefold() for column in columns for row in rows}


@settings(max_examples=60, deadline=None)
@given(st.integers(30, 200), st.integers(1, 3), st.integers(5, 400), st.integers(0, 10**6))
def test_no_text_is_in_two_parts_and_no_row_is_lost(rows, width, vocabulary, seed):
    random = np.random.default_rng(seed)
    columns = [
        [f"text number {n}" for n in random.integers(0, vocabulary, rows)] for _ in range(width)
    ]
    try:
        found = split(columns, None, {"dev": 0.2, "test": 0.2}, seed, has_near=False)
    except SettingError:
        return
    parts = [found[name] for name in ("train", "dev", "test")]
    assert sorted(np.concatenate([*parts, found.dropped]).tolist()) == list(range(rows))
    for one in range(3):
        for other in range(one):
            assert not texts_of(columns, parts[one]) & texts_of(columns, parts[other])


def test_rows_without_shared_texts_are_split_as_asked_and_never_dropped():
    columns = [[f"text {n} of its own" for n in range(1000)]]
    labels = [n % 7 for n in range(1000)]
    found = split(columns, labels, {"dev": 0.1, "test": 0.2}, has_near=False)
    assert {name: len(rows) for name, rows in found.parts.items()} == {
        "train": 700,
        "dev": 100,
        "test": 200,
    }
    for part, share in (("dev", 0.1), ("test", 0.2)):
        counts = np.bincount(np.asarray(labels)[found[part]])
        assert abs(counts - share * 1000 / 7).max() <= 1.5


def test_scores_are_spread_over_the_parts():
    random = np.random.default_rng(0)
    scores = random.random(1000) ** 3
    columns = [[f"text {n} of its own" for n in range(1000)]]
    found = split(columns, scores.tolist(), {"dev": 0.1}, has_near=False)
    assert abs(scores[found["dev"]].mean() - scores.mean()) < 0.02


def test_the_seed_decides():
    columns = [[f"text {n} of its own" for n in range(300)]]
    one, two, other = (split(columns, seed=seed, has_near=False)["dev"] for seed in (1, 1, 2))
    assert one.tolist() == two.tolist() != other.tolist()


def test_rows_that_all_hang_together_lose_only_the_links():
    """A chain: each row shares a text with the next."""
    columns = [[f"link {n}" for n in range(500)], [f"link {n + 1}" for n in range(500)]]
    found = split(columns, None, {"dev": 0.1, "test": 0.1}, has_near=False)
    assert len(found["dev"]) == len(found["test"]) == 50
    assert len(found.dropped) <= 4  # two ends of each part
    assert not texts_of(columns, found["dev"]) & texts_of(columns, found["train"])


def test_the_same_text_in_other_writing_is_one_group():
    columns = [["Where is my card?", "where is my card", "What is the rate?"]]
    groups = groups_of(columns)
    assert groups[0] == groups[1] != groups[2]


def test_near_duplicates_are_one_group():
    long = (
        "the quick brown fox jumps over the lazy dog and runs into the dark green forest at night"
    )
    columns = [
        [long, long.replace("forest", "forrest"), "something else entirely, with other words"]
    ]
    groups = groups_of(columns)
    assert groups[0] == groups[1] != groups[2]
    assert len(set(groups_of(columns, has_near=False).tolist())) == 3


def test_texts_that_overlap_one_another_in_a_chain_lose_only_the_links():
    letters = np.random.default_rng(0).choice(list("abcdefghijklmnop"), (2000, 7))
    words = ["".join(word) for word in letters]
    texts = [" ".join(words[start : start + 200]) for start in range(0, 1800, 4)]
    found = split([texts], None, {"dev": 0.1, "test": 0.1})
    held = {name: found[name] for name in ("dev", "test")}
    for name, rows in held.items():
        others = np.concatenate([found["train"], *(held[n] for n in held if n != name)])
        pairs = near_duplicates([texts[row] for row in (*rows, *others)])
        assert not any(first < len(rows) <= second for first, second, *_ in pairs)
        assert len(rows) == 45
        assert len(np.unique(found.groups[rows])) == 5
    assert len(found.dropped) < 60
    assert len(found["train"]) > 300
    assert len(np.unique(samples_of([texts]))) == 45


@pytest.mark.parametrize("parts", [{"dev": 0}, {"dev": 0.6, "test": 0.4}, {"train": 0.5}])
def test_shares_that_leave_nothing_are_refused(parts):
    with pytest.raises(SettingError, match="shares of parts"):
        split([["a", "b", "c"]], None, parts, has_near=False)


def test_too_few_rows_are_refused_with_their_number():
    with pytest.raises(SettingError, match="too few rows .* 3 rows, of which 1 share"):
        split([["same"] * 3], None, {"dev": 0.5}, has_near=False)


def test_of_many_texts_no_training_row_is_a_near_duplicate_of_a_held_out_one(monkeypatch):
    monkeypatch.setattr("sentune.workbench.rows.split.MANY", 100)
    monkeypatch.setattr("sentune.workbench.rows.split._PORTION", 70)
    random = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
    texts = [" ".join(random.permutation(words)[:8]) for _ in range(150)]
    changed = [f"{text.title()}!" if n % 2 else text + "s" for n, text in enumerate(texts)]
    columns = [[*texts, *changed, *[f"a text {n} of its own {n}" for n in range(300)]]]
    found = split(columns, None, {"dev": 0.1, "test": 0.1})
    part = {int(row): name for name, rows in found.parts.items() for row in rows}
    together = 0
    for n in range(150):  # of a pair that was torn, one is in no part
        sides = [part.get(n), part.get(n + 150)]
        together += sides[0] == sides[1]
        assert sides[0] == sides[1] or None in sides or found.groups[n] != found.groups[n + 150]
        assert {*sides} in ({"train"}, {"dev"}, {"test"}, *({s, None} for s in ("dev", "test")))
    assert together > 50 and len(found.dropped) > 10
    assert len(found["dev"]) > 50


def test_texts_of_very_many_rows_take_no_time_by_the_square():
    """Each of four texts is in 20,000 rows, and one row links it with the next."""
    first = [f"answer {n // 20_000}" for n in range(80_000)]
    second = [f"question {n - (n % 20_000 == 0 and n > 0)}" for n in range(80_000)]
    began = time.process_time()
    found = split([first, second], None, {"dev": 0.25}, has_near=False)
    assert len(found["dev"]) == 20_000
    assert len(found["train"]) >= 30_000
    assert time.process_time() - began < 10
