"""Search by tiles, in float32 and through bfloat16, against plain loops over all pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune import SentenceTransformer
from sentune.search import (
    most_similar_pairs,
    paraphrase_mining_embeddings,
    semantic_search,
    tiles,
)
from sentune.search import pairs as pairs_module
from sentune.search import paraphrases as paraphrases_module
from sentune.search.pairs import Pairs
from sentune.search.tiles import Comparison
from sentune.vectors.similarity import cos_sim, dot_score, pairwise_cos_sim
from tests import tiny


@pytest.fixture(params=["float32", "bfloat16"], autouse=True)
def small_tiles(request, monkeypatch):
    """Tiles of a few rows, with and without a first pass in bfloat16."""
    monkeypatch.setattr(tiles, "ROWS", 8)
    monkeypatch.setattr(tiles, "WIDEST", 16)
    monkeypatch.setattr(tiles, "COLUMNS", 16)
    for name, value in (("_RARE", 1), ("_FEWEST", 1), ("_NARROWEST", 1), ("_LITTLE", 4)):
        monkeypatch.setattr(tiles, name, value)
    monkeypatch.setattr(paraphrases_module, "TILE", 16)
    is_screened = request.param == "bfloat16"
    monkeypatch.setattr(tiles, "multiplies_bfloat16", lambda kind: is_screened)


def matrix(rows, width=24, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def with_faults(rows, width=24, seed=0):
    """Embeddings of like directions, with equal ones, zeros, NaN and infinity among them."""
    found = matrix(rows, width, seed) * 0.2 + matrix(1, width, 99)
    random = np.random.default_rng(seed)
    found[random.integers(0, rows, rows // 4)] = found[0]
    found[random.integers(0, rows, 2)] = 0
    found[random.integers(1, rows)] = np.nan
    found[random.integers(1, rows), 3] = np.inf
    return found


def all_scores(queries, corpus):
    return cos_sim(torch.tensor(queries).double(), torch.tensor(corpus).double())


def check_hits(hits, scores, k):
    """Each row has its highest scores, falling; what is left out is not higher."""
    for row, found in zip(scores.tolist(), hits, strict=True):
        known = sorted((score for score in row if not math.isnan(score)), reverse=True)
        assert [hit["score"] for hit in found] == pytest.approx(known[:k], abs=1e-6)
        assert [row[hit["corpus_id"]] for hit in found] == pytest.approx(known[:k], abs=1e-6)
        assert len({hit["corpus_id"] for hit in found}) == len(found)


@settings(deadline=None, max_examples=25)
@given(
    queries=st.integers(1, 30),
    corpus=st.integers(8, 150),
    k=st.integers(1, 40),
    seed=st.integers(0, 10**6),
)
def test_search_is_a_sort_of_all_scores(queries, corpus, k, seed):
    left, right = with_faults(max(queries, 8), seed=seed)[:queries], with_faults(corpus, seed=seed)
    check_hits(semantic_search(left, right, top_k=k), all_scores(left, right), k)


def test_equal_entries_come_in_the_order_of_the_corpus():
    corpus = matrix(200)
    corpus[[5, 17, 60, 130, 199]] = corpus[5]
    (hits,) = semantic_search(corpus[5], corpus, top_k=5)
    assert [hit["corpus_id"] for hit in hits] == [5, 17, 60, 130, 199]
    assert len({hit["score"] for hit in hits}) == 1
    (hits,) = semantic_search(corpus[5], corpus, top_k=3)
    assert [hit["corpus_id"] for hit in hits] == [5, 17, 60]


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_a_corpus_in_the_order_of_its_scores(order):
    query, corpus = matrix(1), matrix(300)
    places = all_scores(query, corpus)[0].argsort(descending=order == "falling").numpy()
    corpus = corpus[places]
    check_hits(semantic_search(query, corpus, top_k=7), all_scores(query, corpus), 7)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e25])
def test_products_of_any_size(scale):
    queries, corpus = matrix(9) * np.float32(scale), matrix(100)
    scores = torch.tensor(queries).double() @ torch.tensor(corpus).double().T
    hits = semantic_search(queries, corpus, top_k=4, score_function=dot_score)
    for row, found in zip(scores, hits, strict=True):
        assert [hit["corpus_id"] for hit in found] == row.topk(4).indices.tolist()


@settings(deadline=None, max_examples=25)
@given(count=st.integers(8, 90), k=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_pairs_are_the_highest_of_all(count, k, seed):
    rows = with_faults(count, seed=seed)
    scores = all_scores(rows, rows)
    known = sorted(
        (score for i, row in enumerate(scores.tolist()) for score in row[i + 1 :]
         if not math.isnan(score)),
        reverse=True,
    )  # fmt: skip
    found = most_similar_pairs(rows, k)
    assert [pair[0] for pair in found] == pytest.approx(known[:k], abs=1e-6)
    assert [scores[i, j].item() for _, i, j in found] == pytest.approx(known[:k], abs=1e-6)
    assert all(i < j for _, i, j in found)
    assert len({(i, j) for _, i, j in found}) == len(found)


def test_equal_pairs_come_in_the_order_of_their_rows():
    rows = np.random.default_rng(0).integers(-1, 2, (70, 6)).astype(np.float32)
    scores = (rows @ rows.T).tolist()
    pairs = [[scores[i][j], i, j] for i in range(70) for j in range(i + 1, 70)]
    known = sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))
    for k in (1, 7, 500, 10_000):
        assert most_similar_pairs(rows, k, dot_score) == known[:k]


def test_pairs_of_nothing():
    assert most_similar_pairs(matrix(0)) == most_similar_pairs(matrix(1)) == []


@pytest.mark.parametrize("scales", [(1, 1), (1e-22, 1), (1e-30, 1e12), (1e-38, 1e16), (1e-40, 1)])
@pytest.mark.parametrize("width", [1, 384, 4096])
def test_the_bound_holds_for_every_pair(scales, width):
    """What rounding does to a product is never more than what the first pass leaves room for."""
    comparison = Comparison(dot_score, is_screened=True)
    left, right = (
        comparison.rows(torch.tensor(matrix(100, width, seed) * scale).float())
        for seed, scale in enumerate(scales)
    )
    if left.rounded is None:
        pytest.skip("a matter of the first pass")
    exact = left.exact.double() @ right.exact.double().T
    summed = left.rounded.rows.float() @ right.rounded.rows.float().T  # before the last rounding
    bound = tiles._bound(left.rounded, right.rounded)
    assert bool((exact - summed <= bound[:, None]).all())
    if scales == (1, 1):
        assert bool((exact - summed).max() > bound.max() / 50)  # and is no guess
    floors = torch.full((100,), exact.median().item())
    is_high = comparison._maybe_above(left.rounded, right.rounded, floors, None)
    assert bool((is_high | (exact <= floors[:, None])).all())


def test_rows_that_are_all_near_are_not_scored_one_by_one(monkeypatch):
    """Where the first pass cannot tell them apart, a tile is computed again as a whole."""
    one_by_one = []
    score = tiles.pairwise_dot_score
    monkeypatch.setattr(
        tiles, "pairwise_dot_score", lambda a, b: one_by_one.append(len(a)) or score(a, b)
    )
    for spread in (0, 1e-4):
        rows = matrix(1) + matrix(160) * np.float32(spread)
        scores = all_scores(rows, rows)
        check_hits(semantic_search(rows[:16], rows, top_k=3), scores[:16], 3)
        found = most_similar_pairs(rows, 5)
        known = scores[tuple(torch.triu_indices(160, 160, 1))].sort(descending=True).values[:5]
        assert [pair[0] for pair in found] == pytest.approx(known.tolist(), abs=1e-6)
    assert sum(one_by_one) < 160 * 160 / 2


def test_most_of_a_corpus_is_not_scored_again(monkeypatch):
    if not tiles.multiplies_bfloat16("cpu"):
        pytest.skip("a matter of the first pass")
    scored = []
    score = tiles.pairwise_dot_score
    monkeypatch.setattr(
        tiles, "pairwise_dot_score", lambda a, b: scored.append(len(a)) or score(a, b)
    )
    semantic_search(matrix(8, 384), matrix(20_000, 384, seed=1), top_k=5)
    assert 0 < sum(scored) < 0.02 * 8 * 20_000


def test_scores_of_both_ways_are_those_of_the_rows():
    queries, corpus = matrix(8, 384), matrix(2_000, 384, seed=1)
    for query, hits in zip(queries, semantic_search(queries, corpus, top_k=9), strict=True):
        known = pairwise_cos_sim(query[None], corpus[[hit["corpus_id"] for hit in hits]])
        assert [hit["score"] for hit in hits] == pytest.approx(known.tolist(), abs=5e-7)


def test_the_similarity_of_a_model_is_the_function_that_its_name_says(tmp_path):
    model = SentenceTransformer(str(tiny.make_folder(tmp_path)))
    for name, function in (("cosine", cos_sim), ("dot", dot_score)):
        model.similarity_fn_name = name
        assert Comparison(model.similarity).score is function

    class Own(type(model)):
        def similarity(self, a, b):
            return dot_score(a, b)

    model.__class__ = Own
    assert Comparison(model.similarity).score == model.similarity


@pytest.mark.parametrize("most", [2**63, 0])
def test_pairs_are_ordered_by_score_then_row_then_column(most, monkeypatch):
    monkeypatch.setattr(pairs_module, "_MOST", most)
    random = np.random.default_rng(0)
    scores = random.integers(0, 9, 400).astype(np.float32)
    rows, columns = random.integers(0, 20, (2, 400))
    found = Pairs(scores, rows, columns).in_order()
    known = sorted(zip(-scores, rows, columns, strict=True))
    assert [(-s, i, j) for s, i, j in zip(*found, strict=True)] == known
    assert len(Pairs(scores[:0], rows[:0], columns[:0]).in_order().scores) == 0


def mined_by_definition(rows, top_k, max_pairs):
    scores = (rows.astype(np.float64) @ rows.T).tolist()
    found = {}
    for i, row in enumerate(scores):
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: (-row[j], j))
        found.update({(min(i, j), max(i, j)): row[j] for j in others[:top_k]})
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [[score, i, j] for (i, j), score in ordered[:max_pairs]]


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 100),
    top_k=st.integers(1, 30),
    max_pairs=st.integers(1, 3000),
    values=st.integers(1, 40),
    seed=st.integers(0, 10**6),
)
def test_mining_is_that_of_the_definition(count, top_k, max_pairs, values, seed):
    rows = np.random.default_rng(seed).integers(-values, values + 1, (count, 6)).astype(np.float32)
    found = paraphrase_mining_embeddings(
        rows, top_k=top_k, max_pairs=max_pairs, score_function=dot_score
    )
    assert found == mined_by_definition(rows, top_k, max_pairs)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64])
def test_whole_numbers_are_compared_exactly(dtype):
    rows = np.random.default_rng(0).integers(-3, 4, (90, 6))
    embeddings = torch.tensor(rows).to(dtype)
    for top_k, max_pairs in ((2, 10_000), (20, 30)):
        options = {"top_k": top_k, "max_pairs": max_pairs, "score_function": dot_score}
        found = paraphrase_mining_embeddings(embeddings, **options)
        assert found == mined_by_definition(rows, top_k, max_pairs)
    large = torch.tensor([[2**25], [2**25 + 1]])
    (hits,) = semantic_search(torch.tensor([1]), large, top_k=2, score_function=dot_score)
    assert [(hit["corpus_id"], hit["score"]) for hit in hits] == [(1, 2**25 + 1), (0, 2**25)]


def test_mining_knows_when_pairs_are_left_below_the_first_floor(monkeypatch):
    """A floor with just as many pairs above it as are looked for does not leave out the others."""
    rows = np.zeros((40, 8), dtype=np.float32)
    rows[:, 0] = 1
    rows[:5, 1] = 3  # 10 pairs of score 10 within the first five, 4 of which are near; others 1
    monkeypatch.setattr(
        paraphrases_module,
        "_floor",
        lambda blocks, wanted, room: torch.tensor([5.0 if room < 2 else -math.inf]),
    )
    found = paraphrase_mining_embeddings(rows, top_k=1, max_pairs=5, score_function=dot_score)
    assert found == mined_by_definition(rows, 1, 5)
