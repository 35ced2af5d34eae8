"""Figures of held-out rows against loops written from their definitions."""

import numpy as np
import pytest
import torch

from sentune.data import forms
from sentune.errors import DatasetError
from sentune.evaluation.metrics import spearman
from sentune.vectors.similarity import cos_sim, pairwise_cos_sim
from sentune.workbench.measuring.by_form import measure_for
from sentune.workbench.measuring.measure import gain, interval


class Table:
    """A model that looks a vector up."""

    similarity_fn_name = "cosine"

    def __init__(self, vectors, queries=None):
        self.vectors = {
            text: torch.as_tensor(v, dtype=torch.float32) for text, v in vectors.items()
        }
        self.queries = queries or {}
        self.encoded = 0

    def encode(self, texts, **_):
        self.encoded += len(texts)
        return torch.stack([self.vectors[text] for text in texts])

    def encode_query(self, texts, **_):
        return torch.stack(
            [torch.tensor(self.queries[t]) if t in self.queries else self.vectors[t] for t in texts]
        )

    encode_document = encode
    similarity = staticmethod(cos_sim)
    similarity_pairwise = staticmethod(pairwise_cos_sim)


def random_model(texts, seed=0, width=8):
    vectors = np.random.default_rng(seed).normal(size=(len(texts), width))
    return Table(dict(zip(texts, vectors)))


def cosine(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def scored(rows=60, seed=1):
    random = np.random.default_rng(seed)
    data = {
        "a": [f"a {n % 40}" for n in range(rows)],
        "b": [f"b {n % 50}" for n in range(rows)],
        "score": random.integers(0, 6, rows) / 5,
    }
    return {**data, "score": data["score"].tolist()}


def test_pairs_with_scores_give_the_correlation_of_ranks():
    data = scored()
    model = random_model(sorted({*data["a"], *data["b"]}))
    measure = measure_for(data, None, forms.PAIR_AND_SCORE)
    values = measure.values(model)
    cosines = [cosine(model.vectors[a], model.vectors[b]) for a, b in zip(data["a"], data["b"])]
    assert values.figure == pytest.approx(spearman(cosines, data["score"]), abs=1e-6)
    assert model.encoded == len({*data["a"], *data["b"]})  # each text once


def test_pairs_of_classes_rank_the_class_that_the_model_finds_nearest():
    vectors = {"q": [1, 0], "near": [1, 0.1], "middle": [1, 1], "far": [-1, 0.2]}
    data = {"a": ["q"] * 4, "b": ["near", "middle", "far", "near"], "label": [2, 1, 0, 2]}
    model = Table(vectors)
    values = measure_for(data, None, forms.PAIR_AND_CLASS, model=model).values(model)
    assert values.measure.targets.tolist() == [1, 0, 0, 1]
    assert values.figure == 1


def test_pairs_of_one_label_cannot_be_measured():
    data = {"a": ["x", "y"], "b": ["z", "u"], "label": [1, 1]}
    with pytest.raises(DatasetError, match="all held-out pairs have the label 1"):
        measure_for(data, None, forms.PAIR_AND_MATCH)


@pytest.mark.parametrize("has_reference", [True, False])
def test_classes_are_voted_for_by_five_neighbours(has_reference):
    random = np.random.default_rng(3)
    texts = [f"t {n}" for n in range(90)]
    model = random_model(texts, 4)
    labels = random.integers(0, 4, 90).tolist()
    asked = {"text": texts[:30], "label": labels[:30]}
    known = {"text": texts[30:], "label": labels[30:]}
    measure = measure_for(asked, known if has_reference else None, forms.TEXT_AND_CLASS)
    values = measure.values(model)
    others = range(30, 90) if has_reference else range(30)
    for row in range(30):
        near = sorted(
            (n for n in others if n != row),
            key=lambda n: -cosine(model.vectors[texts[n]], model.vectors[texts[row]]),
        )[:5]
        votes = [labels[n] for n in near]
        most = max(map(votes.count, votes))
        winner = next(label for label in votes if votes.count(label) == most)
        assert values.rows[row] == float(winner == labels[row])
    assert values.figure == values.rows.mean()


def test_of_a_large_training_part_each_class_gives_its_share_of_the_neighbours():
    known = {"text": [f"t {n}" for n in range(500)], "label": [0] * 480 + [1] * 20}
    asked = {"text": ["x", "y"], "label": [0, 1]}
    measure = measure_for(asked, known, forms.TEXT_AND_CLASS, references=60)
    kept = set(measure.texts["text"]) - {"x", "y"}
    assert len(kept) == 60
    assert len(kept & set(known["text"][480:])) == 20


def test_a_search_does_not_count_other_answers_and_the_query_itself_as_wrong():
    vectors = {"q": [1, 0], "best": [1, 0.01], "second": [1, 0.1], "third": [1, 0.5], "r": [0, 1]}
    data = {"query": ["q", "q", "r"], "answer": ["second", "third", "best"]}
    model = Table({**vectors, "other": [1, 0.2]})
    # Of q: "best" comes before both answers; "other", a training document, before the second one.
    train = {"query": ["z"], "answer": ["other"]}
    values = measure_for(data, train, forms.PAIR).values(model)
    # r (0, 1): third, other, second, best
    assert values.rows.tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 4])
    itself = {"query": ["q"], "answer": ["second"]}
    train = {"query": ["q"], "answer": ["q"]}
    assert measure_for(itself, train, forms.PAIR).values(model).figure == 1


def test_queries_and_documents_are_encoded_in_their_roles():
    vectors = {"q": [1, 0], "right": [0, 1], "wrong": [1, 0.1]}
    data = {"query": ["q", "q2"], "answer": ["right", "wrong"]}
    model = Table({**vectors, "q2": [1, 0]}, queries={"q": [0.0, 1.0]})
    assert measure_for(data, None, forms.PAIR).values(model).figure == 1


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_model_that_finds_all_texts_alike_solves_nothing(value):
    texts = [f"t {n}" for n in range(40)]
    model = Table({text: [value, value] for text in texts})
    pairs = {"query": texts[:20], "answer": texts[20:]}
    assert measure_for(pairs, None, forms.PAIR).values(model).figure < 0.1
    triplets = {"a": texts[:10], "p": texts[10:20], "n": texts[20:30]}
    assert measure_for(triplets, None, forms.TRIPLET).values(model).figure == 0


def test_triplets_count_where_the_positive_is_nearer_than_every_negative():
    vectors = {"a": [1, 0], "p": [1, 0.2], "n": [1, 0.5], "m": [1, 0.1]}
    data = {"a": ["a", "a"], "p": ["p", "p"], "n": ["n", "n"], "m": ["n", "m"]}
    assert measure_for(data, None, forms.NEGATIVES).values(Table(vectors)).rows.tolist() == [1, 0]


def test_a_teachers_scores_are_compared_over_all_documents():
    vectors = {"q": [1, 0], "x": [1, 0.1], "y": [1, 1], "z": [0, 1], "w": [-1, 0]}
    data = {"q": ["q", "q"], "d": ["x", "z"], "e": ["y", "w"], "label": [[4.0, 3.0], [2.0, 1.0]]}
    measure = measure_for(data, None, forms.TEACHER_SCORES, groups=np.array([7, 8]))
    assert measure.values(Table(vectors)).figure == pytest.approx(1)
    assert measure.groups.tolist() == [7, 7, 8, 8]


def test_texts_that_say_nothing_of_each_other_are_refused():
    with pytest.raises(DatasetError, match="nothing can be measured"):
        measure_for({"text": ["a", "b"]}, None, forms.TEXT)


# How sure a difference is -------------------------------------------------------------------------


@pytest.mark.parametrize("per_column", [False, True])
def test_a_teachers_embeddings_are_compared_by_their_cosine(per_column):
    texts = [[f"{name} {n}" for n in range(20)] for name in ("english", "german")]
    model = random_model([*texts[0], *texts[1]])
    random = np.random.default_rng(4)
    teacher = random.normal(size=(20, 2, 8) if per_column else (20, 8))
    data = {"english": texts[0], "german": texts[1], "label": teacher.tolist()}
    values = measure_for(data, None, forms.TEACHER_EMBEDDING).values(model)
    for row in range(20):
        wanted = [
            cosine(model.vectors[column[row]], teacher[row, at] if per_column else teacher[row])
            for at, column in enumerate(texts)
        ]
        assert values.rows[row] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert values.figure == pytest.approx(values.rows.mean())


def test_a_teacher_of_another_width_is_said():
    data = {"text": ["a", "b"], "label": [[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]}
    measure = measure_for(data, None, forms.TEACHER_EMBEDDING)
    with pytest.raises(DatasetError, match="have 3 numbers and the model's 8; give embeddings of"):
        measure.values(random_model(["a", "b"]))


def test_a_figure_is_in_its_interval_whatever_is_drawn():
    """Of few pairs most draws have texts twice, and the correlation of those is another one."""
    for seed in range(40):
        data = {name: cells[:6] for name, cells in scored(seed=seed).items()}
        values = measure_for(data, None, forms.PAIR_AND_SCORE).values(
            random_model(sorted({*data["a"], *data["b"]}), seed)
        )
        found = interval(values, rounds=3)
        assert found.low <= found.value <= found.high


def test_the_interval_of_a_mean_is_that_of_the_textbook():
    data = {
        "a": [f"a{n}" for n in range(400)],
        "p": [f"p{n}" for n in range(400)],
        "n": ["n"] * 400,
    }
    random = np.random.default_rng(5)
    near = random.random(400) < 0.7
    vectors = {"n": [0, 1]}
    for n in range(400):
        vectors[f"a{n}"] = [1, 1]
        vectors[f"p{n}"] = [1, 1] if near[n] else [-1, -1]
    values = measure_for(data, None, forms.TRIPLET).values(Table(vectors))
    found = interval(values)
    error = np.sqrt(near.mean() * (1 - near.mean()) / 400)
    assert found.error == pytest.approx(error, rel=0.1)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_a_paired_difference_is_surer_than_the_two_figures():
    data = scored(300)
    texts = sorted({*data["a"], *data["b"]})
    before = random_model(texts)
    after = Table({t: v + 0.05 * torch.randn(8) for t, v in before.vectors.items()})
    measure = measure_for(data, None, forms.PAIR_AND_SCORE)
    one, two = measure.values(before), measure.values(after)
    assert gain(one, two).error < interval(one).error / 2
    assert gain(one, two).value == pytest.approx(two.figure - one.figure)
    assert gain(one, two) == gain(one, two)


def test_several_models_count_by_their_mean():
    data = scored(200)
    texts = sorted({*data["a"], *data["b"]})
    measure = measure_for(data, None, forms.PAIR_AND_SCORE)
    start, *others = (measure.values(random_model(texts, seed)) for seed in range(4))
    found = gain([start], others)
    gains = [gain(start, other) for other in others]
    assert found.value == pytest.approx(np.mean([one.value for one in gains]))
    assert found.error < max(one.error for one in gains)
    assert gain([start] * 3, others).value == pytest.approx(found.value)


def test_rows_that_share_a_text_are_drawn_together():
    """Ten copies of each row are no more evidence than the rows."""
    data = scored(40)
    model = random_model(sorted({*data["a"], *data["b"]}))
    copies = {name: cells * 10 for name, cells in data.items()}
    once = interval(measure_for(data, None, forms.PAIR_AND_SCORE).values(model))
    groups = np.tile(np.arange(40), 10)
    grouped = measure_for(copies, None, forms.PAIR_AND_SCORE, groups=groups).values(model)
    single = measure_for(copies, None, forms.PAIR_AND_SCORE).values(model)
    assert interval(grouped).error == pytest.approx(once.error, rel=0.15)
    assert interval(single).error < once.error / 2


def test_different_rows_are_not_compared():
    data = scored()
    model = random_model(sorted({*data["a"], *data["b"]}))
    one, two = (measure_for(data, None, forms.PAIR_AND_SCORE).values(model) for _ in range(2))
    with pytest.raises(DatasetError, match="different rows"):
        gain(one, two)


def test_every_form_of_advice_has_a_measure_or_an_error_that_says_so():
    for form in forms.FORMS:
        if form.name == "sentence" or not form.is_advice:
            with pytest.raises(DatasetError, match="nothing can be measured"):
                measure_for({"text": ["a"]}, None, form)
