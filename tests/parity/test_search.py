"""Search, paraphrases and groups give what sentence-transformers 6.2.0 gives."""

import numpy as np
import pytest
import torch

import sentune.search as ours
from sentune.vectors import similarity

peer = pytest.importorskip("sentence_transformers.util")

FUNCTIONS = ["cos_sim", "dot_score", "euclidean_sim", "manhattan_sim"]


def matrix(rows, width=16, seed=0):
    values = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return torch.tensor(values)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("sizes", [{}, {"query_chunk_size": 7, "corpus_chunk_size": 50}])
def test_semantic_search(name, sizes):
    queries, corpus = matrix(20), matrix(333, seed=1)
    options = {"top_k": 9, **sizes}
    found = ours.semantic_search(
        queries, corpus, score_function=getattr(similarity, name), **options
    )
    expected = peer.semantic_search(queries, corpus, score_function=getattr(peer, name), **options)
    for mine, theirs in zip(found, expected, strict=True):
        assert [hit["corpus_id"] for hit in mine] == [hit["corpus_id"] for hit in theirs]
        assert [h["score"] for h in mine] == pytest.approx([h["score"] for h in theirs], abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3},
        {"max_pairs": 50},
        {"top_k": 5, "max_pairs": 200, "query_chunk_size": 30, "corpus_chunk_size": 41},
    ],
)
def test_paraphrase_mining(name, options):
    rows = matrix(150)
    found = ours.paraphrase_mining_embeddings(
        rows, score_function=getattr(similarity, name), **options
    )
    expected = peer.paraphrase_mining_embeddings(
        rows, score_function=getattr(peer, name), **options
    )
    assert len(found) == len(expected)
    assert [pair[0] for pair in found] == pytest.approx([p[0] for p in expected], abs=1e-5)
    assert {tuple(p[1:]) for p in found} == {tuple(p[1:]) for p in expected}


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.5},
        {"threshold": 0.6, "min_community_size": 3, "batch_size": 17},
        {"threshold": 0.3, "min_community_size": 2},
    ],
)
@pytest.mark.parametrize("width", [4, 16])
def test_community_detection(options, width):
    rows = matrix(300, width)
    found = ours.community_detection(rows, **options)
    assert found == peer.community_detection(rows, **options)
    assert width == 16 or len(found) > 2
