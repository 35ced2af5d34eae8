"""Mining negatives: by hand, its cache, its processes and what it refuses."""

import numpy as np
import pytest
from datasets import Dataset

from sentune.errors import DatasetError, SettingError
from sentune.search import mine_hard_negatives
from sentune.search.same import plain
from tests.fake_encoder import FakeEncoder


class Numbers(FakeEncoder):
    """A text such as "3 4" is its own direction."""

    def vector(self, text):
        return np.array([float(number) for number in text.split()])

    encode_query = FakeEncoder.encode


# Cosines with (1, 0): 0.8 (the positive), 0.96, 0.6, 0.28, 0.
PAIRS = {"q": ["1 0", "0 1"], "a": ["4 3", "0 2"]}
CORPUS = ["24 7", "3 4", "7 24"]


def mine(model=None, pairs=PAIRS, **options):
    options = {"corpus": CORPUS, "num_negatives": 2, "verbose": False, **options}
    return mine_hard_negatives(Dataset.from_dict(pairs), model or Numbers(), **options)


def negatives_of_the_first(**options):
    rows = mine(**options)
    return [row["negative"] for row in rows if row["q"] == "1 0"]


def test_the_nearest_that_are_not_its_own_are_the_negatives():
    assert negatives_of_the_first() == ["24 7", "3 4"]
    assert negatives_of_the_first(range_min=1) == ["3 4", "7 24"]


def test_limits_keep_candidates_out():
    assert negatives_of_the_first(max_score=0.9) == ["3 4", "7 24"]
    assert negatives_of_the_first(min_score=0.9) == ["24 7"]
    # the positive has 0.8, half of it is 0.4
    assert negatives_of_the_first(absolute_margin=0.1) == ["3 4", "7 24"]
    assert negatives_of_the_first(absolute_margin=0.3) == ["7 24", "0 2"]
    assert negatives_of_the_first(relative_margin=0.5) == ["7 24", "0 2"]


def test_random_negatives_come_from_the_range():
    found = {
        tuple(negatives_of_the_first(sampling_strategy="random", range_max=3)) for _ in range(40)
    }
    assert found == {("24 7", "3 4"), ("24 7", "7 24"), ("3 4", "7 24")}


def test_what_was_found_is_told(capsys):
    _, report = mine(verbose=True, min_score=0.9, output_report=True)
    text = capsys.readouterr().out
    assert text == f"{report}\n"
    assert "2 anchors with 2 positives; 5 documents" in text
    assert "score below min_score=0.9" in text
    assert "2 anchors have fewer than 2 negatives, 0 of them none" in text
    assert "lower min_score, raise range_max, give a larger corpus" in text
    mine()
    assert capsys.readouterr().out == ""


def test_several_processes_are_started_and_stopped():
    class Pooled(Numbers):
        log = []

        def start_multi_process_pool(self, devices):
            self.log.append(devices)
            return "pool"

        def stop_multi_process_pool(self, pool):
            self.log.append(pool)

    model = Pooled()
    assert mine(model, use_multi_process=["cpu", "cpu"]).to_dict() == mine().to_dict()
    assert model.log == [["cpu", "cpu"], "pool"]
    assert all(options["pool"] == "pool" for _, options in model.calls)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pairs": {"q": [], "a": []}}, DatasetError, "no rows"),
        ({"pairs": {"q": ["1 0"]}}, DatasetError, "positive missing"),
        ({"anchor_column_name": "x"}, DatasetError, "columns q, a; x missing"),
        ({"num_negatives": 0}, SettingError, "num_negatives"),
        ({"range_min": -1}, SettingError, "range_min"),
        ({"range_min": 2, "range_max": 3}, SettingError, "no space for 2"),
        ({"sampling_strategy": "best"}, SettingError, "'best'"),
        ({"output_format": "pairs"}, SettingError, "triplet.*'pairs'"),
    ],
)
def test_bad_settings_are_named(options, error, message):
    with pytest.raises(error, match=message):
        mine(**options)


class Letters(FakeEncoder):
    """Texts with the same words lie together, whatever their case and punctuation."""

    def vector(self, text):
        return super().vector(plain(text))

    encode_query = FakeEncoder.encode


SAME = {
    "q": ["what is a cat?", "the sun"],
    "a": ["a small animal", "a star"],
}
COPIES = ["What is a cat", " what is\ta CAT !", "A small animal.", "what is a dog"]


def candidates_of_the_first(**options):
    options = {"corpus": COPIES, "num_negatives": 1, "range_max": 9, "verbose": False, **options}
    rows = mine_hard_negatives(Dataset.from_dict(SAME), Letters(), **options).to_dict()
    names = [name for name in rows if name.startswith("negative")]
    return [rows[name][0] for name in names]


def test_the_same_text_in_another_spelling_is_no_negative():
    assert candidates_of_the_first() == ["what is a dog"]
    assert candidates_of_the_first(exclude_same_text=False) == ["What is a cat"]
    found = candidates_of_the_first(num_negatives=2, output_format="n-tuple", range_max=None)
    assert found == ["what is a dog", "a star"]


def test_the_own_text_of_an_anchor_is_no_negative_even_in_a_ranking_with_positives():
    corpus = ["what is a cat?", *COPIES]
    found = candidates_of_the_first(corpus=corpus, output_format="n-tuple", num_negatives=2)
    assert found == ["what is a dog", "a star"]
    ranked = candidates_of_the_first(corpus=corpus, include_positives=True, num_negatives=4)
    assert sorted(ranked) == ["A small animal.", "a small animal", "a star", "what is a dog"]


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("It's new.", "it’s  NEW", True),
        ("Straße", "STRASSE!", True),
        ("what is C++?", "what is C?", False),
        ("?", "!", False),
        ("की", "का", False),  # vowels of Hindi are marks
        ("e-mail", "email", False),
    ],
)
def test_what_makes_two_texts_the_same(one, other, are_same):
    assert (plain(one) == plain(other)) == are_same


def test_older_arguments():
    assert negatives_of_the_first(margin=0.3) == negatives_of_the_first(absolute_margin=0.3)
    for older, newer in (
        ({"as_triplets": True, "output_format": "n-tuple"}, {"output_format": "triplet"}),
        ({"as_triplets": False}, {"output_format": "n-tuple"}),
        ({"output_format": "n-tuple-scores"}, {"output_format": "n-tuple", "output_scores": True}),
        ({"margin": 0.1, "absolute_margin": 0.9}, {"absolute_margin": 0.1}),
    ):
        assert mine(**older).to_dict() == mine(**newer).to_dict()
