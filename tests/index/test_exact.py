"""Search by vectors without approximation gives what semantic_search and a plain loop give."""

import math

import numpy as np
import pytest

from sentune import Index
from sentune.errors import InputError, SettingError
from sentune.index import ranking
from sentune.index.store import Row
from sentune.search.semantic import semantic_search
from sentune.vectors.similarity import SimilarityFunction


def build(folder, vectors, **options):
    return Index.build(
        folder, [f"text {n}" for n in range(len(vectors))], embeddings=vectors, **options
    )


def by_loop(query, vectors, similarity, k):
    def score(a, b):
        if similarity == "euclidean":
            return -math.dist(a, b)
        lengths = math.hypot(*a) * math.hypot(*b) if similarity == "cosine" else 1
        return math.fsum(x * y for x, y in zip(a, b)) / (lengths or 1)

    scored = [(score(query.tolist(), row.tolist()), n) for n, row in enumerate(vectors)]
    return sorted(scored, key=lambda pair: (-round(pair[0], 5), pair[1]))[:k]


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_it_equals_semantic_search_and_a_loop(similarity, tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 24)).astype(np.float32)
    vectors[40:60] = vectors[7]  # ties, in the order of the corpus
    vectors[100] = 0
    vectors[200:203] = 3 * vectors[8]
    queries = np.stack([vectors[7], *rng.normal(size=(4, 24)), np.zeros(24)]).astype(np.float32)
    index = build(tmp_path / "i", vectors, similarity=similarity)
    assert index.settings.similarity == similarity and len(index) == 300
    found = index.search(embedding=queries, mode="vector", top_k=30)
    expected = semantic_search(
        queries,
        vectors,
        top_k=30,
        score_function=SimilarityFunction.to_similarity_fn(similarity),
    )
    for query, hits, wanted in zip(queries, found, expected):
        looped = by_loop(query, vectors, similarity, 30)
        scores = [hit.score for hit in hits]
        near = 5e-3 if similarity == "euclidean" else 1e-5  # torch's distances of near vectors
        np.testing.assert_allclose(scores, [one["score"] for one in wanted], atol=near)
        np.testing.assert_allclose(scores, [score for score, _ in looped], atol=2e-5)
        assert [int(h.id) for h in hits] == [n for _, n in looped]


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 1, 1e6])
@pytest.mark.parametrize("query_scale", [1e-12, 1, 1e6])
def test_small_and_large_dot_products_are_exact(scale, query_scale, tmp_path):
    rng = np.random.default_rng(0)
    vectors = (scale * rng.normal(size=(300, 24))).astype(np.float32)
    queries = (query_scale * rng.normal(size=(5, 24))).astype(np.float32)
    index = build(tmp_path / "i", vectors, similarity="dot")
    wide = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    for hits, row in zip(index.search(embedding=queries, mode="vector", top_k=300), wide):
        assert [int(hit.id) for hit in hits] == np.argsort(-row, kind="stable").tolist()
        error = 1e-5 * np.abs(row).max()
        np.testing.assert_allclose([h.score for h in hits], np.sort(row)[::-1], atol=error)


def test_scores_that_differ_in_the_last_digit_are_no_ties(tmp_path):
    one = np.float32(0.25)
    two = np.nextafter(one, np.float32(1))
    three = np.nextafter(two, np.float32(1))  # 1 - score is the same for two of them
    index = build(tmp_path / "i", np.array([[one], [two], [three]]), similarity="dot")
    hits = index.search(embedding=[1], mode="vector")
    assert [(hit.id, hit.score) for hit in hits] == [("2", three), ("1", two), ("0", one)]


def test_ties_are_in_the_order_of_the_documents_wherever_they_are_cut(tmp_path):
    vectors = np.tile(np.float32([1, 2, 3]), (500, 1))
    index = build(tmp_path / "i", vectors)
    for k in (1, 3, 100, 499, 500):
        hits = index.search(embedding=vectors[0], mode="vector", top_k=k)
        assert [int(hit.id) for hit in hits] == list(range(k))


def test_more_than_there_are(tmp_path):
    index = build(tmp_path / "i", np.eye(3))
    hits = index.search(embedding=[0, 1, 0.5], mode="vector", top_k=50)
    assert [hit.id for hit in hits] == ["1", "2", "0"]


def test_an_empty_index(tmp_path):
    index = Index.build(tmp_path / "i", [], embeddings=np.zeros((0, 3)))
    assert len(index) == 0 and index.search(embedding=np.ones(3), mode="vector") == []
    assert index.search("words", mode="text") == []
    index.add({"a": "some words"}, embeddings=np.ones((1, 3)))
    assert [hit.id for hit in index.search("words", mode="text")] == ["a"]
    assert [hit.id for hit in index.search(embedding=np.ones(3))] == ["a"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(bad, tmp_path):
    vectors = np.eye(4)
    vectors[2, 1] = bad
    with pytest.raises(InputError, match="document 2"):
        build(tmp_path / "i", vectors)
    index = build(tmp_path / "j", np.eye(4))
    with pytest.raises(InputError, match="query 0"):
        index.search(embedding=vectors[2], mode="vector")
    with pytest.raises(InputError, match="document 2"):
        index.add(dict.fromkeys("abcd", "text"), embeddings=vectors)
    assert len(index) == 4


@pytest.mark.parametrize("count", [3, 5])
def test_as_many_embeddings_as_documents(count, tmp_path):
    with pytest.raises(InputError, match=f"{count} embeddings"):
        Index.build(tmp_path / "i", ["a", "b", "c", "d"], embeddings=np.ones((count, 2)))


def test_the_width_of_a_query_must_fit(tmp_path):
    index = build(tmp_path / "i", np.eye(4))
    with pytest.raises(InputError, match="4 numbers"):
        index.search(embedding=np.ones(3), mode="vector")
    with pytest.raises(InputError, match="of 4 numbers, and these have 2"):
        index.add({"a": "one", "b": "two"}, embeddings=np.ones((2, 2)))


def test_texts_cannot_be_searched_by_meaning_without_a_model(tmp_path):
    index = build(tmp_path / "i", np.eye(4))
    with pytest.raises(SettingError, match="does not say where its model is"):
        index.search("text")
    assert len(index.search("text", mode="text")) == 4
    hits = index.search("3", embedding=np.eye(4)[0])  # both together
    assert {hit.id for hit in hits[:2]} == {"0", "3"}


def scattered(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)


def test_above_a_size_it_is_approximate_and_exact_on_demand(tmp_path):
    vectors, queries = scattered(15_000, 0), scattered(20, 1)  # 4 lists
    index = build(tmp_path / "i", vectors, exact_below=15_000)
    expected = semantic_search(queries, vectors, top_k=10)

    def shared(**options):
        found = index.search(embedding=queries, mode="vector", **options)
        pairs = zip(found, expected)
        return np.mean(
            [[int(h.id) in {w["corpus_id"] for w in ws} for h in hs] for hs, ws in pairs]
        )

    assert shared(exact=True) == 1.0
    assert shared(probes=100) == 1.0
    assert 0.2 < shared(probes=1) < 1.0  # so it is approximate, and its scores are exact
    hit = index.search(embedding=queries[0], mode="vector", probes=1)[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query = queries[0] / np.linalg.norm(queries[0])
    assert hit.score == pytest.approx(float(unit[int(hit.id)] @ query), abs=1e-5)


def test_an_approximate_search_still_finds_as_many_as_are_wanted(tmp_path):
    vectors = scattered(15_000, 0)
    documents = [{"text": "t", "part": n % 2_500} for n in range(15_000)]
    index = Index.build(tmp_path / "i", documents, embeddings=vectors, exact_below=1_000)
    hits = index.search(embedding=vectors[0], mode="vector", filter={"part": 3}, probes=1)
    assert len(hits) == 6
    hits = index.search(embedding=vectors[0], mode="vector", top_k=15_000, probes=1)
    assert len({hit.id for hit in hits}) == 15_000


def test_rows_that_come_later_are_found_too_and_the_index_is_trained_again(tmp_path):
    vectors = scattered(1_200, 0)
    index = build(tmp_path / "i", vectors, exact_below=1_000)
    later = scattered(6_000, 2)
    names = [index._store._table.list_indices()]
    index.add({f"n{n}": "t" for n in range(6_000)}, embeddings=later)
    names.append(index._store._table.list_indices())
    kinds = [[one.name for one in found if "vector" in one.name] for found in names]
    assert kinds == [["vector_of_1200"], ["vector_of_7200"]]
    found = [index.search(embedding=row, mode="vector", top_k=1)[0].id for row in later[:20]]
    assert found == [f"n{n}" for n in range(20)]


def row(id, score, place, chunk=0):
    return Row(id, chunk, place, score, place)


def test_a_document_stands_where_its_best_row_does():
    rows = [
        row("a", 0.9, 0),
        row("a", 0.8, 1),
        row("b", 0.7, 2),
        row("a", 0.6, 3),
        row("c", 0.5, 4),
    ]
    found = ranking.best_documents(lambda limit: rows[:limit], 2)
    assert [(one.id, one.score) for one in found] == [("a", 0.9), ("b", 0.7)]


def test_as_many_rows_are_fetched_as_documents_and_ties_need():
    rows = [row("a", 1.0, n, n) for n in range(200)] + [row(f"b{n}", 0.5, n) for n in range(300)]
    asked = []

    def fetch(limit):
        asked.append(limit)
        return rows[:limit]

    found = ranking.best_documents(fetch, 3)
    assert [one.id for one in found] == ["a", "b0", "b1"]
    assert asked == [32, 128, 512]
    asked.clear()
    ranking.best_documents(fetch, 3, with_ties=False)
    assert asked == [32, 128, 512]


def test_fusion_is_the_sum_of_reciprocal_ranks():
    one = [row(name, 0.5, 0, 1) for name in "abcd"]
    two = [row(name, 7, 0, 2) for name in "cae"]
    found = ranking.fused({"vector": one, "text": two})
    assert [f.row.id for f in found] == ["a", "c", "b", "d", "e"]
    scores = {f.row.id: f.score for f in found}
    assert scores["a"] == 2 / 11 + 1 / 12 and scores["c"] == 2 / 13 + 1 / 11
    assert scores["b"] == 2 / 12 and scores["e"] == 1 / 13
    assert found[0].scores == {"vector": 0.5, "text": 7} and found[2].scores == {"vector": 0.5}
    assert {f.row.id: f.row.chunk for f in found} == {"a": 1, "b": 1, "c": 2, "d": 1, "e": 2}
