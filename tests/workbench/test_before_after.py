"""Two encoders on the same held-out texts: figures by loops, and each text encoded once."""

import json

import numpy as np
import pytest

from sentune.data import forms
from sentune.workbench.measuring.before_after import compared
from sentune.workbench.measuring.projection import flat
from tests.fake_encoder import FakeEncoder

WORDS = "cat dog bird fish tree house river light bread water song night".split()


class Plain(FakeEncoder):
    """Without prompts: queries and documents are encoded alike. Word vectors can be turned."""

    prompts = {"query": "", "document": ""}
    max_seq_length = 8

    def __init__(self, blind=(), **options):
        super().__init__(**options)
        self.blind = blind

    def modules(self):
        return []

    def encode_query(self, texts, **options):
        return self.encode(texts, **options)

    def vector(self, text):
        seen = " ".join(word for word in text.split() if word not in self.blind)
        return super().vector(seen or "nothing")

    def tokenizer(self, texts, **options):
        assert options == {"truncation": False, "verbose": False}
        return {"input_ids": [text.split() for text in texts]}


def texts(count, seed=0, words=4):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, words)) + f" n{number}" for number in range(count)]


def pairs(count=30):
    """Questions whose answers share a word of their own that one encoder does not see."""
    first = [f"{text} key{n}" for n, text in enumerate(texts(count, 1))]
    second = [f"{text} key{n} more" for n, text in enumerate(texts(count, 2))]
    return {"query": first, "answer": second}


def keys(count=30):
    return {f"key{number}" for number in range(count)}


def encoded(encoder):
    return [text for batch, _ in encoder.calls for text in batch]


def unit(encoder, rows):
    vectors = np.stack([encoder.vector(text) for text in rows]).astype(float)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_pairs_have_every_part_as_plain_values_and_each_text_is_encoded_once():
    before, after = Plain(blind=keys()), Plain()
    rows = pairs()
    found = compared(before, after, rows, forms.PAIR)
    assert set(found) == {"lengths", "scores", "queries", "neighbours", "map"}
    json.dumps(found, allow_nan=False)
    for encoder in (before, after):
        assert sorted(encoded(encoder)) == sorted({*rows["query"], *rows["answer"]})
    assert found == compared(before, after, rows, forms.PAIR)  # by a fixed seed


def test_ranks_and_first_results_are_those_of_a_loop():
    before, after = Plain(blind=keys()), Plain()
    rows = pairs()
    found = compared(before, after, rows, forms.PAIR)["queries"]
    assert found["searched"] == found["among"] == 30
    assert found["improved"] and found["counts"]["improved"] > found["counts"]["worse"]
    ranks = {}
    for side, encoder in (("before", before), ("after", after)):
        scores = unit(encoder, rows["query"]) @ unit(encoder, rows["answer"]).T
        for number, query in enumerate(rows["query"]):
            own = scores[number, number]
            ranks[query, side] = 1 + sum(
                scores[number, other] >= own for other in range(30) if other != number
            )
    changes = []
    for kind, sign in (("improved", 1), ("worse", -1)):
        for one in found[kind]:
            query = one["query"]
            assert one["expected"] == rows["answer"][rows["query"].index(query)]
            assert (one["rank_before"], one["rank_after"]) == (
                ranks[query, "before"],
                ranks[query, "after"],
            )
            assert sign * (one["rank_before"] - one["rank_after"]) > 0
            if one["rank_after"] <= 5:
                assert one["after"][one["rank_after"] - 1]["is_right"]
            assert len(one["before"]) == len(one["after"]) == 5
            if kind == "improved":
                changes.append(1 / one["rank_after"] - 1 / one["rank_before"])
    assert changes == sorted(changes, reverse=True)
    best = max(1 / ranks[q, "after"] - 1 / ranks[q, "before"] for q in rows["query"])
    assert changes[0] == pytest.approx(best)


def test_the_positives_come_nearer_and_their_counts_are_those_of_the_rows():
    found = compared(Plain(blind=keys()), Plain(), pairs(), forms.PAIR)["scores"]
    edges, groups = found["edges"], found["groups"]
    assert list(groups) == ["positives", "negatives"] and edges[-1] == 1.0
    middles = (np.array(edges[1:]) + edges[:-1]) / 2
    for sides in groups.values():
        assert sum(sides["before"]) == sum(sides["after"]) <= 30
    assert sum(groups["positives"]["before"]) == 30
    before, after = (
        np.average(middles, weights=groups["positives"][side]) for side in ("before", "after")
    )
    assert after > before + 0.05
    texts = pairs()
    for side, model in (("before", Plain(blind=keys())), ("after", Plain())):
        scores = (unit(model, texts["query"]) * unit(model, texts["answer"])).sum(axis=1)
        assert groups["positives"]["means"][side] == pytest.approx(scores.mean(), abs=1e-5)


def test_equal_texts_have_the_mean_one():
    same = {"query": texts(10), "answer": texts(10)}
    found = compared(Plain(), Plain(), same, forms.PAIR)["scores"]["groups"]["positives"]
    assert found["means"]["before"] == pytest.approx(1.0, abs=1e-6)


def test_one_long_text_leaves_room_for_the_lengths_of_the_others():
    rows = {"text": [*texts(300), "word " * 20_000]}
    one = compared(Plain(), Plain(), rows, forms.TEXT)["lengths"]["text"]
    assert one["edges"][-2] < 20 and one["edges"][-1] == 20_001 and one["counts"][-1] == 1


def test_a_text_that_is_cut_ends_with_an_ellipsis():
    long = [f"{text} {'word ' * 300}" for text in pairs()["query"]]
    found = compared(Plain(blind=keys()), Plain(), {**pairs(), "query": long}, forms.PAIR)
    shown = [found["neighbours"][0]["text"], *found["map"]["texts"]]
    shown += [found["queries"]["improved"][0]["query"]]
    cut = [text for text in shown if len(text) > 300]
    assert cut and all(text.endswith("…") and len(text) <= 600 for text in cut)


def test_other_answers_of_a_query_are_not_wrong():
    rows = {"query": ["cat tree"] * 2 + ["dog house"]}
    rows["answer"] = ["cat tree a", "cat tree b", "river dog house"]
    blind = Plain(blind={"dog", "house", "river", "cat", "tree", "a"})  # all alike but one
    queries = compared(blind, Plain(), rows, forms.PAIR)["queries"]
    assert queries["searched"] == 2 and queries["among"] == 3
    found = {one["query"]: one for one in queries["improved"]}
    assert set(found) == set(rows["query"])
    assert {(one["rank_before"], one["rank_after"]) for one in found.values()} == {(2, 1)}
    assert [one["is_right"] for one in found["cat tree"]["after"]] == [True, True, False]


def test_roles_are_kept_apart_where_a_model_does():
    before, after = FakeEncoder(), FakeEncoder()  # puts "query: " before queries
    same = {"query": ["cat dog", "bird"], "answer": ["cat dog", "fish"]}
    compared(before, after, same, forms.PAIR)
    assert sorted(encoded(before)) == ["bird", "cat dog", "cat dog", "fish"]


def test_classes_find_texts_of_their_own_class():
    count = 40
    labels = [number % 4 for number in range(count)]
    rows = {"text": [f"{t} class{n % 4}" for n, t in enumerate(texts(count))], "label": labels}
    before, after = Plain(blind={f"class{n}" for n in range(4)}), Plain()
    found = compared(before, after, rows, forms.TEXT_AND_CLASS)
    for one in found["queries"]["improved"]:
        right = [result["is_right"] for result in one["after"]]
        assert [r["label"] == one["expected"] for r in one["after"]] == right
        assert one["query"] not in [result["text"] for result in one["after"]]
        assert one["expected"] == str(labels[rows["text"].index(one["query"])])
        if one["rank_after"] <= 5:
            assert right.index(True) == one["rank_after"] - 1
    assert set(found["map"]["groups"]) == {"0", "1", "2", "3"}
    assert list(found["scores"]["groups"]) == ["positives", "negatives"]


LABELLED = {
    "pair and score": ([0.0, 0.2, 0.9, 1.0] * 5, {"scored 0.67 and more", "scored 0.33 and less"}),
    "pair and 0 or 1": ([0, 1, 1, 0] * 5, {"positives", "negatives"}),
    "pair and class": ([0, 1, 2, 1] * 5, {"label 0", "label 1", "label 2"}),
}


@pytest.mark.parametrize("name", LABELLED)
def test_labelled_pairs_are_grouped_by_their_labels(name):
    labels, groups = LABELLED[name]
    form = next(form for form in forms.FORMS if form.name == name)
    rows = {**pairs(20), "label": labels}
    found = compared(Plain(blind=keys()), Plain(), rows, form, alike=1)
    assert set(found["scores"]["groups"]) == groups
    asked = {one["query"] for kind in ("improved", "worse") for one in found["queries"][kind]}
    assert asked
    right = {"pair and score": {0.9, 1.0}}.get(name, {1})
    assert asked <= {q for q, label in zip(rows["query"], labels) if label in right}
    assert found["queries"]["searched"] == sum(label in right for label in labels)
    assert found["map"]["groups"] == []


@pytest.mark.parametrize("form", [forms.TRIPLET, forms.NEGATIVES])
def test_negatives_are_searched_too(form):
    rows = pairs(12)
    for number in range(1 if form is forms.TRIPLET else 3):
        rows[f"negative_{number}"] = texts(12, 10 + number)
    found = compared(Plain(blind=keys()), Plain(), rows, form)
    assert found["queries"]["among"] == 12 * (len(rows) - 1)
    negatives = found["scores"]["groups"]["negatives"]
    assert sum(negatives["after"]) == 12 * (len(rows) - 2)


def test_texts_without_labels_have_neighbours_and_a_map_only():
    found = compared(Plain(), Plain(blind={"cat"}), {"text": texts(20)}, forms.TEXT)
    assert set(found) == {"lengths", "neighbours", "map"}


def test_neighbours_are_the_nearest_other_texts():
    after = Plain()
    rows = {"text": texts(25)}
    found = compared(Plain(blind={"cat"}), after, rows, forms.TEXT)["neighbours"]
    assert len(found) == 6
    scores = unit(after, rows["text"]) @ unit(after, rows["text"]).T
    for one in found:
        place = rows["text"].index(one["text"])
        order = [rows["text"][other] for other in np.argsort(-scores[place]) if other != place]
        assert [result["text"] for result in one["after"]] == order[:5]


def test_lengths_are_tokens_and_those_above_the_limit_are_counted():
    rows = {"text": ["one two", "one two three", " ".join(["long"] * 9), " ".join(["x"] * 8)]}
    one = compared(Plain(), Plain(), rows, forms.TEXT)["lengths"]["text"]
    assert one["limit"] == 8 and one["truncated"] == 1 and sum(one["counts"]) == 4


def test_rows_are_sampled():
    before = Plain()
    found = compared(before, Plain(), {"text": texts(50)}, forms.TEXT, rows=20)
    assert len(encoded(before)) == 20 == len(found["map"]["texts"])


def test_texts_without_a_vector_are_near_nothing_and_make_no_nan():
    class Broken(Plain):
        def vector(self, text):
            return super().vector(text) * (np.nan if "n3" in text else 1)

    found = compared(Broken(), Plain(), {"text": texts(10)}, forms.TEXT)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_rows_is_enough(count):
    rows = {name: cells[:count] for name, cells in pairs().items()}
    json.dumps(compared(Plain(), Plain(), rows, forms.PAIR), allow_nan=False)


def test_a_map_that_is_only_turned_lies_on_the_first():
    random = np.random.default_rng(0)
    points = random.normal(size=(40, 6)) * [5, 3, 0.1, 0.1, 0.1, 0.1]
    turn, _ = np.linalg.qr(random.normal(size=(6, 6)))
    before, after = flat(points, points @ turn)
    np.testing.assert_allclose(before, after, atol=1e-6)
    spread = before.var(axis=0)
    assert spread[0] > spread[1] > 0
