"""The most similar pairs against a loop over all pairs."""

import numpy as np
import pytest
import torch

from sentune.errors import InputError, SettingError
from sentune.search import paraphrase_mining, paraphrase_mining_embeddings
from sentune.search import paraphrases as paraphrases_module
from sentune.vectors.similarity import dot_score


def matrix(rows, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def small_whole_numbers(rows, width=4, seed=0):
    """Vectors whose dot products are exact and often equal."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, width)).astype(np.float32)


def by_definition(rows, top_k, max_pairs):
    scores = (rows @ rows.T).tolist()
    found = {}
    for i, row in enumerate(scores):
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: (-row[j], j))
        for j in others[:top_k]:
            found[min(i, j), max(i, j)] = row[j]
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [[score, i, j] for (i, j), score in ordered[:max_pairs]]


@pytest.mark.parametrize("tile", [4096, 7, 1])
@pytest.mark.parametrize(("top_k", "max_pairs"), [(100, 500), (3, 500), (3, 11), (1, 1)])
@pytest.mark.parametrize("rows", [2, 3, 30])
def test_pairs_are_those_of_the_definition(rows, top_k, max_pairs, tile):
    embeddings = small_whole_numbers(rows)
    found = paraphrase_mining_embeddings(
        embeddings,
        query_chunk_size=tile,
        top_k=top_k,
        max_pairs=max_pairs,
        score_function=dot_score,
    )
    assert found == by_definition(embeddings, top_k, max_pairs)
    assert [type(value) for value in found[0]] == [float, int, int]


def test_every_pair_of_tiles_is_scored_once():
    tiles = []

    def score(a, b):
        tiles.append((len(a), len(b)))
        return dot_score(a, b)

    paraphrase_mining_embeddings(matrix(40), corpus_chunk_size=10, score_function=score)
    assert tiles == [(10, 10)] * 10  # of 16: the upper triangle


def test_tiles_never_grow_beyond_their_limit(monkeypatch):
    monkeypatch.setattr(paraphrases_module, "TILE", 8)
    sizes = []

    def score(a, b):
        sizes.append(len(a) * len(b))
        return dot_score(a, b)

    paraphrase_mining_embeddings(matrix(40), score_function=score)
    assert max(sizes) == 64


def test_equal_texts_come_first():
    class Model:
        def encode(self, sentences, **options):
            assert options["convert_to_tensor"]
            assert options["prompt"] == "p: "
            return torch.tensor(matrix(len(sentences)))[[0, 1, 2, 1]]

    pairs = paraphrase_mining(Model(), ["a", "b", "c", "b"], prompt="p: ")
    assert pairs[0][1:] == [1, 3]
    assert pairs[0][0] == pytest.approx(1, abs=1e-6)
    assert len(pairs) == 6


def test_one_text_has_no_pair():
    assert paraphrase_mining_embeddings(matrix(1)) == []
    assert paraphrase_mining_embeddings(matrix(0)) == []


def test_bad_input_is_named():
    with pytest.raises(InputError, match="matrix"):
        paraphrase_mining_embeddings([1.0, 2.0])
    with pytest.raises(SettingError, match="max_pairs"):
        paraphrase_mining_embeddings(matrix(3), max_pairs=0)
