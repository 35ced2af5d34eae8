"""Search by faiss and usearch, against a loop and against sentence-transformers."""

import logging

import numpy as np
import pytest

from sentune.errors import InputError, MissingDependencyError, SettingError
from sentune.quantization import (
    quantize_embeddings,
    semantic_search_faiss,
    semantic_search_usearch,
)

peer = pytest.importorskip("sentence_transformers.util.quantization")

SEARCHES = {"faiss": semantic_search_faiss, "usearch": semantic_search_usearch}
CASES = [
    ("faiss", "float32"),
    ("faiss", "uint8"),
    ("faiss", "ubinary"),
    ("usearch", "float32"),
    ("usearch", "int8"),
    ("usearch", "binary"),
    ("usearch", "ubinary"),
]
RANDOM = np.random.default_rng(0)
CORPUS = RANDOM.normal(size=(150, 19)).astype(np.float32)  # 19 bits do not fill their bytes
QUERIES = RANDOM.normal(size=(7, 19)).astype(np.float32)
RANGES = np.stack([CORPUS.min(axis=0), CORPUS.max(axis=0)])


def same(mine, other, *, has_ties):
    """Among equal distances usearch gives other entries in each call."""
    hits, seconds, *_ = mine
    assert seconds >= 0 and len(mine) == len(other)
    for here, there in zip(hits, other[0], strict=True):
        ids = [[hit["corpus_id"] for hit in one] for one in (here, there)]
        assert has_ties or ids[0] == ids[1]
        scores = [[hit["score"] for hit in one] for one in (here, there)]
        np.testing.assert_allclose(*scores, rtol=1e-6)


@pytest.mark.parametrize(("name", "precision"), CASES)
@pytest.mark.parametrize("is_rescored", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_results_are_those_of_sentence_transformers(name, precision, is_rescored):
    pytest.importorskip(name)
    mine, other = SEARCHES[name], getattr(peer, f"semantic_search_{name}")
    corpus = quantize_embeddings(CORPUS, precision, RANGES)
    options = {"corpus_precision": precision, "rescore": is_rescored, "ranges": RANGES}
    is_bits = name == "usearch" and "binary" in precision
    options["rescore_multiplier"] = 20 if is_bits else 2  # all, so that ties do not matter
    given = [
        ((QUERIES, corpus), {}),
        ((QUERIES, corpus), {"top_k": 3, "rescore_multiplier": 60}),
        ((QUERIES, corpus), {"ranges": None, "calibration_embeddings": CORPUS}),
        ((QUERIES, corpus[:4]), {"top_k": 9}),
        ((QUERIES[:1], corpus), {"output_index": True}),
        ((quantize_embeddings(QUERIES, precision, RANGES), corpus), {}),
    ]
    for args, more in given:
        both = {**options, **more}
        has_ties = is_bits and (not is_rescored or args[0].dtype != np.float32)
        same(mine(*args, **both), other(*args, **both), has_ties=has_ties)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_results_are_those_of_a_loop(name):
    pytest.importorskip(name)
    precision = {"faiss": "uint8", "usearch": "int8"}[name]
    corpus = quantize_embeddings(CORPUS, precision, RANGES)
    steps = (RANGES[1] - RANGES[0]) / 255
    restored = (corpus.astype(float) + (128 if precision == "int8" else 0)) * steps + RANGES[0]
    hits, _ = SEARCHES[name](
        QUERIES, corpus, corpus_precision=precision, ranges=RANGES, rescore_multiplier=50, top_k=3
    )
    for query, found in zip(QUERIES, hits, strict=True):
        scores = restored @ query
        best = np.argsort(-scores)[:3]
        assert [hit["corpus_id"] for hit in found] == best.tolist()
        np.testing.assert_allclose([hit["score"] for hit in found], scores[best], rtol=1e-5)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_index_is_used_again(name):
    pytest.importorskip(name)
    search, bits = SEARCHES[name], quantize_embeddings(CORPUS, "ubinary")
    for exact in (True, False):
        options = {"corpus_precision": "ubinary", "exact": exact}
        hits, _, index = search(QUERIES, bits, output_index=True, **options)
        again, _ = search(QUERIES, corpus_index=index, **options)
        assert again == hits
        assert len(hits) == 7 and all(len(found) == 10 for found in hits)


@pytest.mark.parametrize("name", SEARCHES)
def test_what_does_not_fit_is_refused(name):
    search = SEARCHES[name]
    for options in ({}, {"corpus_embeddings": CORPUS, "corpus_index": object()}):
        with pytest.raises(SettingError, match="one of the two"):
            search(QUERIES, **options)
    with pytest.raises(SettingError, match=f"corpus_precision.*{name}.*'x'"):
        search(QUERIES, CORPUS, corpus_precision="x")
    with pytest.raises(SettingError, match="top_k"):
        search(QUERIES, CORPUS, top_k=0)
    if name == "usearch" and pytest.importorskip("usearch"):
        coded = quantize_embeddings(CORPUS, "int8")
        with pytest.raises(InputError, match="one embedding has no range"):
            search(QUERIES[0], coded, corpus_precision="int8")


@pytest.mark.parametrize("name", SEARCHES)
def test_the_library_that_is_missing_is_named(name, monkeypatch):
    for module in (name, f"{name}.index"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf'"sentune\[{name}\]"'):
        SEARCHES[name](QUERIES, CORPUS, rescore=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_rescore_without_effect_is_said(caplog):
    pytest.importorskip("usearch")
    caplog.set_level(logging.WARNING)
    semantic_search_usearch(QUERIES, CORPUS)
    assert "the corpus is not quantized" in caplog.text
    bits = quantize_embeddings(CORPUS, "binary")
    semantic_search_usearch(bits[:3], bits, corpus_precision="binary")
    assert "the queries are quantized" in caplog.text


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_lists_of_matrices_are_quantized_alike(precision):
    parts = [CORPUS[:60], CORPUS[60:60], CORPUS[60:]]
    for options in ({}, {"ranges": RANGES}, {"calibration_embeddings": CORPUS[:120]}):
        mine = quantize_embeddings(parts, precision, **options)
        other = peer.quantize_embeddings(parts, precision, **options)
        for here, there in zip(mine, other, strict=True):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there)
    assert quantize_embeddings([], precision) == peer.quantize_embeddings([], precision) == []
    for empty in (np.zeros((0, 19), np.float32),):
        found = [one(empty, precision) for one in (quantize_embeddings, peer.quantize_embeddings)]
        assert found[0].shape == found[1].shape and found[0].dtype == found[1].dtype
