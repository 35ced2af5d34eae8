"""The peer's methods and attributes of evaluators: their values, and what overriding them does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sentune.evaluation as ours
from tests.fake_encoder import FakeEncoder, sentences
from tests.parity.evaluators import peer

pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = [sentences(30, seed=seed) for seed in range(3)]
LABELS = np.random.default_rng(0).integers(0, 2, 30).tolist()
CORPUS = {f"d{i:02}": text for i, text in enumerate(TEXTS[1])}
QUERIES = {f"q{i}": text for i, text in enumerate(TEXTS[0][:8])}
RELEVANT = {f"q{i}": {f"d{(7 * i + j) % 30:02}" for j in range(i % 3 + 1)} for i in range(8)}
SAMPLES = [
    {"query": TEXTS[0][i], "positive": TEXTS[1][i : i + 2], "negative": TEXTS[2][i : i + 5]}
    for i in range(9)
]
MADE = {
    "EmbeddingSimilarityEvaluator": lambda **o: ((*TEXTS[:2], list(range(30))), o),
    "BinaryClassificationEvaluator": lambda **o: ((*TEXTS[:2], LABELS), o),
    "TripletEvaluator": lambda **o: (tuple(TEXTS), o),
    "TranslationEvaluator": lambda **o: (tuple(TEXTS[:2]), o),
    "MSEEvaluator": lambda **o: ((*TEXTS[:2], FakeEncoder()), o),
    "InformationRetrievalEvaluator": lambda **o: ((QUERIES, CORPUS, RELEVANT), o),
    "RerankingEvaluator": lambda **o: ((SAMPLES,), o),
    "ParaphraseMiningEvaluator": lambda **o: ((CORPUS, [("d01", "d02"), ("d02", "d05")]), o),
}
EMBEDDING = [name for name in MADE if hasattr(getattr(peer, name), "embed_inputs")]


def made(library, name, cls=None, **options):
    args, options = MADE[name](**options)
    return (cls or getattr(library, name))(*args, **options)


@pytest.mark.parametrize("name", MADE)
def test_every_public_name_of_an_evaluator_is_there(name):
    mine, theirs = made(ours, name), made(peer, name)
    for evaluator in (mine, theirs):
        evaluator(FakeEncoder())
    missing = [x for x in dir(theirs) if not x.startswith("_") and not hasattr(mine, x)]
    assert missing == []
    assert list(mine.csv_headers) == list(theirs.csv_headers)


@pytest.mark.parametrize("name", [*MADE][:3])
def test_the_columns_of_the_file_are_known_beforehand(name):
    options = {"similarity_fn_names": ["dot", "cosine"]}
    mine, theirs = made(ours, name, **options), made(peer, name, **options)
    assert mine.csv_headers == theirs.csv_headers
    assert len(mine.csv_headers) > 3


def shifted(library, name, seen):
    """An evaluator whose subclass changes each embedding."""
    base = getattr(library, name)

    def embed_inputs(self, model, sentences, **kwargs):
        seen.append(kwargs.get("encode_fn_name"))
        rows = base.embed_inputs(self, model, sentences, **kwargs)
        if isinstance(rows, list):
            return [row + torch.linspace(0, 9, len(row)) for row in rows]
        ramp = np.linspace(0, 9, rows.shape[1], dtype=np.float32)
        return rows + (torch.from_numpy(ramp) if isinstance(rows, torch.Tensor) else ramp)

    return made(library, name, type(name, (base,), {"embed_inputs": embed_inputs}))


@pytest.mark.parametrize("name", EMBEDDING)
def test_an_overridden_way_to_embed_is_taken(name):
    seen = ([], [])
    plain = made(ours, name)(FakeEncoder())
    mine, theirs = (
        shifted(library, name, calls)(FakeEncoder())
        for library, calls in zip((ours, peer), seen, strict=True)
    )
    assert mine == pytest.approx(theirs, rel=1e-6)
    assert name == "MSEEvaluator" or mine != pytest.approx(plain, abs=1e-3)
    assert set(seen[0]) == set(seen[1]) and seen[0]


def test_embeddings_of_a_subclass_may_be_a_list():
    class Listed(ours.TripletEvaluator):
        def embed_inputs(self, *args, **kwargs):
            return list(super().embed_inputs(*args, **kwargs))

    assert made(ours, "TripletEvaluator", Listed)(FakeEncoder()) == made(ours, "TripletEvaluator")(
        FakeEncoder()
    )


METHODS = [
    ("BinaryClassificationEvaluator", "compute_metrics"),
    ("BinaryClassificationEvaluator", "compute_metrices"),
    ("InformationRetrievalEvaluator", "compute_all_metrics"),
    ("InformationRetrievalEvaluator", "compute_metrices"),
    ("RerankingEvaluator", "compute_metrics"),
    ("RerankingEvaluator", "compute_metrics_batched"),
    ("RerankingEvaluator", "compute_metrics_individual"),
]


def flat(found, at=""):
    if isinstance(found, dict):
        return {k: v for key in found for k, v in flat(found[key], f"{at}/{key}").items()}
    return {at: float(found)}


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_method_gives_the_same(name, method):
    results = []
    for library in (ours, peer):
        evaluator = made(library, name)
        evaluator(FakeEncoder())  # the peer knows the similarity from here on
        results.append(flat(getattr(evaluator, method)(FakeEncoder())))
    assert results[0] == pytest.approx(results[1], abs=1e-6)


def halving(library, name, method):
    base = getattr(library, name)

    def half(self, *args, **kwargs):
        found = getattr(base, method)(self, *args, **kwargs)
        if isinstance(found, tuple):
            return tuple(value / 2 for value in found)

        def halved(part):
            return {k: halved(v) for k, v in part.items()} if isinstance(part, dict) else part / 2

        return halved(found)

    body = half
    if method.startswith("find"):
        original = getattr(base, method)
        body = staticmethod(lambda *a: tuple(value / 2 for value in original(*a)))
    return made(library, name, type(name, (base,), {method: body}))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *[pair for pair in METHODS if "metrices" not in pair[1]],
        ("InformationRetrievalEvaluator", "compute_metrics"),
        ("BinaryClassificationEvaluator", "find_best_acc_and_threshold"),
        ("BinaryClassificationEvaluator", "find_best_f1_and_threshold"),
    ],
)
def test_a_method_that_is_overridden_measures(name, method):
    options = {"use_batched_encoding": False} if method.endswith("individual") else {}
    plain = made(ours, name, **options)(FakeEncoder())
    found = []
    for library in (ours, peer):
        evaluator = halving(library, name, method)
        for key, value in options.items():
            setattr(evaluator, key, value)
        found.append(evaluator(FakeEncoder()))
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[0] != pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("is_higher", [True, False])
def test_thresholds_of_scores(is_higher):
    random = np.random.default_rng(4)
    scores, labels = random.normal(size=40).astype(np.float32), random.integers(0, 2, 40)
    for method in ("find_best_acc_and_threshold", "find_best_f1_and_threshold"):
        mine, theirs = (
            getattr(library.BinaryClassificationEvaluator, method)(scores, labels, is_higher)
            for library in (ours, peer)
        )
        assert mine == pytest.approx(theirs, abs=1e-6)


def test_parts_of_retrieval():
    mine, theirs = (
        made(ours, "InformationRetrievalEvaluator"),
        made(peer, "InformationRetrievalEvaluator"),
    )
    shuffled = dict(sorted(CORPUS.items(), key=lambda item: item[1]))
    for library in (ours, peer):
        cls = library.InformationRetrievalEvaluator
        evaluator = cls(QUERIES, shuffled, RELEVANT)
        ranks = evaluator.get_corpus_id_ranks()
        assert [evaluator.corpus_ids[i] for i in ranks.argsort()] == sorted(CORPUS)
        assert cls.compute_dcg_at_k([1, 0, 3, 1], 3) == pytest.approx(1 + 3 / 2)
    for name in ("mrr", "ndcg", "accuracy", "precision_recall", "map"):
        assert getattr(mine, f"{name}_at_k") == getattr(theirs, f"{name}_at_k")
    found = []
    for evaluator in (mine, theirs):
        evaluator.ndcg_at_k = [3, 5]
        found.append(evaluator(FakeEncoder()))
        assert evaluator.score_function_names == ["cosine"]
    assert "cosine_ndcg@3" in found[0]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_another_class_retrieves_in_each_collection():
    class Own(ours.InformationRetrievalEvaluator):
        pass

    class Nano(ours.NanoBEIREvaluator):
        information_retrieval_class = Own

        def _read(self, part, split, columns):
            cells = {"query-id": "1", "corpus-id": "1", "_id": "1", "text": "a text"}
            return [{name: cells[name] for name in columns}]

    evaluator = Nano(["msmarco"], ndcg_at_k=[2])
    assert [type(one) for one in evaluator.evaluators] == [Own]
    assert evaluator.ndcg_at_k == [2]


def test_what_follows_from_pairs_that_mean_the_same():
    graph = {"a": {"b": True}, "b": {"a": True, "c": True}, "c": {"b": True}, "d": {"a": False}}
    closed = []
    for library in (ours, peer):
        given = {one: dict(others) for one, others in graph.items()}
        found = library.ParaphraseMiningEvaluator.add_transitive_closure(given)
        closed.append({(a, b) for a in found for b in found[a] if found[a][b]})
    assert closed[0] == closed[1] and ("a", "c") in closed[0]
    mine, theirs = (made(x, "ParaphraseMiningEvaluator").duplicates for x in (ours, peer))
    pairs = [{(a, b) for a in x for b in x[a] if x[a][b]} for x in (mine, theirs)]
    assert pairs[0] == pairs[1]
