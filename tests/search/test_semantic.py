"""Exact search against sorting all scores."""

import numpy as np
import pytest
import torch

from sentune.errors import InputError, SettingError
from sentune.search import semantic_search
from sentune.vectors.similarity import cos_sim, dot_score, euclidean_sim


def matrix(rows, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def small_whole_numbers(rows, width=4, seed=0):
    """Vectors whose dot products are exact and often equal."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, width)).astype(np.float32)


def ids(hits):
    return [[hit["corpus_id"] for hit in row] for row in hits]


def test_finds_the_nearest_first():
    corpus = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    (hits,) = semantic_search([1.0, 0.1], corpus, top_k=2)
    assert ids([hits]) == [[0, 2]]
    assert hits[0]["score"] == pytest.approx(1 / np.sqrt(1.01), abs=1e-6)
    assert type(hits[0]["score"]) is float
    assert type(hits[0]["corpus_id"]) is int


@pytest.mark.parametrize("score_function", [cos_sim, dot_score, euclidean_sim])
@pytest.mark.parametrize(("query_chunk", "corpus_chunk"), [(100, 500000), (3, 7), (1, 1)])
def test_chunks_change_nothing(score_function, query_chunk, corpus_chunk):
    queries, corpus = small_whole_numbers(10), small_whole_numbers(40, seed=1)
    corpus[7] = corpus[31] = corpus[2]
    scores = score_function(queries, corpus)
    expected = [
        sorted(range(40), key=lambda c: (-row[c], c))[:5] for row in scores.double().tolist()
    ]
    hits = semantic_search(
        queries,
        corpus,
        query_chunk_size=query_chunk,
        corpus_chunk_size=corpus_chunk,
        top_k=5,
        score_function=score_function,
    )
    if score_function is dot_score:  # the others round, so that ties depend on the chunk
        assert ids(hits) == expected
    for row, want in zip(hits, scores.sort(dim=1, descending=True).values, strict=True):
        assert [hit["score"] for hit in row] == pytest.approx(want[:5].tolist(), abs=1e-5)


def test_fewer_entries_than_asked_for():
    assert ids(semantic_search(matrix(2), matrix(3), top_k=10)) == ids(
        semantic_search(matrix(2), matrix(3), top_k=3)
    )


def test_no_queries_and_no_corpus():
    assert semantic_search(matrix(0), matrix(3)) == []
    assert semantic_search(matrix(2), matrix(0)) == [[], []]


def test_half_precision_is_searched_in_float32():
    half = torch.tensor(matrix(50, 64)).bfloat16()
    assert semantic_search(half, half) == semantic_search(half.float(), half.float())


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"\(2, 8\) and \(3, 5\)"):
        semantic_search(matrix(2), matrix(3, 5))
    with pytest.raises(InputError, match="matrix"):
        semantic_search(matrix(2), matrix(1)[0])
    with pytest.raises(SettingError, match="top_k"):
        semantic_search(matrix(2), matrix(3), top_k=0)


@pytest.mark.parametrize("corpus", [[], np.array([]), np.empty((0, 8)), torch.empty(0)])
def test_an_empty_corpus_has_no_hits(corpus):
    assert semantic_search(matrix(2), corpus) == [[], []]
    assert semantic_search(matrix(1)[0], corpus) == [[]]
