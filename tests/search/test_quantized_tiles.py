"""Search over codes in own tiles, against a plain loop, and against faiss and usearch."""

import tracemalloc

import numpy as np
import pytest
import torch

from sentune.errors import InputError, SettingError
from sentune.quantization import (
    quantize_embeddings,
    semantic_search_faiss,
    semantic_search_quantized,
    semantic_search_usearch,
)
from sentune.search import codes
from sentune.search import tiles as tiles_module
from sentune.vectors.quantize import PRECISIONS

RANDOM = np.random.default_rng(0)
CORPUS = RANDOM.normal(size=(900, 70)).astype(np.float32)  # 70 bits fill neither bytes nor words
CORPUS[500:560] = CORPUS[3]  # the same entry many times
CORPUS[600] = 0
QUERIES = np.concatenate([RANDOM.normal(size=(40, 70)), CORPUS[3:6]]).astype(np.float32)
RANGES = np.stack([CORPUS.min(axis=0), CORPUS.max(axis=0)])


def coded(rows, precision):
    return quantize_embeddings(rows, precision, RANGES)


def bits(rows):
    return (rows > 0).astype(np.int64)


def by_a_loop(precision, k, rescored=None, rows=CORPUS):
    """Places and scores, one pair at a time; equal scores by place."""
    steps = (RANGES[1] - RANGES[0]) / 255
    found = []
    for query, code in zip(QUERIES, coded(QUERIES, precision), strict=True):
        if "binary" in precision:
            scores = [(bits(query) != bits(row)).sum() for row in rows]
            order = np.argsort(scores, kind="stable")
            restored = bits(rows)
        else:
            numbers = coded(rows, precision)
            exact = float if precision == "float32" else int
            scores = [code.astype(exact) @ row.astype(exact) for row in numbers]
            order = np.argsort(-np.array(scores), kind="stable")
            restored = (numbers.astype(float) + (128 if precision == "int8" else 0)) * steps
            restored = restored + RANGES[0]
        if rescored:
            best = order[: k * rescored]
            scores = {place: float(restored[place] @ query.astype(float)) for place in best}
            order = sorted(best, key=lambda place: -scores[place])
        found.append([(place, scores[place]) for place in order[:k]])
    return found


def same(hits, expected):
    for here, there in zip(hits, expected, strict=True):
        scores = [[hit["score"] for hit in here], [score for _, score in there]]
        np.testing.assert_allclose(*scores, rtol=2e-5, atol=1e-4)
        assert [hit["corpus_id"] for hit in here] == [place for place, _ in there]


@pytest.fixture(params=["one tile", "small tiles"])
def tiles(request, monkeypatch):
    if request.param == "small tiles":
        monkeypatch.setattr(codes, "_CHUNK", 64)
        for name in ("COLUMNS", "_RARE", "_FEWEST", "_NARROWEST"):
            monkeypatch.setattr(tiles_module, name, 8 if name == "COLUMNS" else 1)
        monkeypatch.setattr(codes, "_ROWS", 7)
        monkeypatch.setattr(codes, "_TILE", 7 * 50)
        monkeypatch.setattr(codes, "_CACHED", 200)


@pytest.mark.parametrize("k", [1, 9, 100])
@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_what_is_found_is_what_a_loop_finds(tiles, precision, k):
    options = {"corpus_precision": precision, "ranges": RANGES, "top_k": k}
    corpus = coded(CORPUS, precision)
    hits, seconds = semantic_search_quantized(QUERIES, corpus, rescore=False, **options)
    assert seconds >= 0
    same(hits, by_a_loop(precision, k))
    again, _ = semantic_search_quantized(
        coded(QUERIES, precision), corpus, rescore=False, **options
    )
    assert again == hits


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_the_best_are_scored_again(tiles, precision):
    corpus = coded(CORPUS, precision)
    for multiplier in (2, 5):
        hits, _ = semantic_search_quantized(
            QUERIES,
            corpus,
            corpus_precision=precision,
            ranges=RANGES,
            top_k=4,
            rescore_multiplier=multiplier,
        )
        for found, expected in zip(hits, by_a_loop(precision, 4, multiplier), strict=True):
            scores = [[hit["score"] for hit in found], [score for _, score in expected]]
            np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-5)


def test_bits_are_counted_without_numpy_2():
    words = np.random.default_rng(0).integers(0, 2**64, (30, 40), dtype=np.uint64)
    words[0], words[1] = 0, 2**64 - 1
    counts = np.empty(words.shape, np.uint8)
    codes._bits_of(words, out=counts)
    assert counts.tolist() == [[bin(word).count("1") for word in row] for row in words.tolist()]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        corpus = coded(CORPUS, "binary")
        hits, _ = semantic_search_quantized(
            QUERIES, corpus, corpus_precision="binary", rescore=False
        )
    finally:
        torch.set_num_threads(before)
    same(hits, by_a_loop("binary", 10))


OTHERS = [
    (semantic_search_faiss, "faiss", "float32"),
    (semantic_search_faiss, "faiss", "uint8"),
    (semantic_search_faiss, "faiss", "ubinary"),
    (semantic_search_usearch, "usearch", "int8"),
    (semantic_search_usearch, "usearch", "binary"),
    (semantic_search_usearch, "usearch", "ubinary"),
]


@pytest.mark.parametrize(("other", "library", "precision"), OTHERS)
@pytest.mark.parametrize("is_rescored", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scores_are_those_of_other_libraries(other, library, precision, is_rescored):
    pytest.importorskip(library)
    kept = np.setdiff1d(np.arange(900), np.arange(500, 560))  # equal ones in any order
    corpus = coded(CORPUS[kept], precision)
    options = {"corpus_precision": precision, "ranges": RANGES, "rescore": is_rescored}
    # All are scored again: where many bits are equal, which come first is chance.
    options |= {"rescore_multiplier": 100, "top_k": 9}
    for queries in (QUERIES, QUERIES[:1]):
        ours, _ = semantic_search_quantized(queries, corpus, **options)
        theirs, _ = other(queries, corpus, **options)
        for here, there in zip(ours, theirs, strict=True):
            scores = np.array([hit["score"] for hit in there])
            if precision == "int8" and not is_rescored:
                scores = 1 - scores
            np.testing.assert_allclose([hit["score"] for hit in here], scores, rtol=1e-5)
            if "binary" not in precision or is_rescored:
                assert [h["corpus_id"] for h in here] == [h["corpus_id"] for h in there]


def test_float32_is_searched_by_dot_product(tiles):
    hits, _ = semantic_search_quantized(QUERIES, CORPUS, rescore=False, top_k=5)
    same(hits, by_a_loop("float32", 5))
    half, _ = semantic_search_quantized(QUERIES, CORPUS.astype(np.float16), rescore=False, top_k=5)
    for here, there in zip(half, hits, strict=True):
        scores = [[hit["score"] for hit in one] for one in (here, there)]
        np.testing.assert_allclose(*scores, rtol=2e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_few_and_none(precision):
    options = {"corpus_precision": precision, "ranges": RANGES, "rescore": False}
    for count in (0, 1, 3):
        corpus = coded(CORPUS[:3], precision)[:count]
        hits, _ = semantic_search_quantized(QUERIES, corpus, **options)
        assert [len(found) for found in hits] == [count] * len(QUERIES)
    assert semantic_search_quantized(QUERIES[:0], coded(CORPUS, precision), **options)[0] == []
    one, _ = semantic_search_quantized(QUERIES[0], coded(CORPUS, precision), **options)
    assert one == semantic_search_quantized(QUERIES[:1], coded(CORPUS, precision), **options)[0]


def test_nan_is_never_found():
    corpus = CORPUS.copy()
    corpus[::2] = np.nan
    hits, _ = semantic_search_quantized(QUERIES, corpus, rescore=False, top_k=600)
    assert all(len(found) == 450 for found in hits)
    assert all(hit["corpus_id"] % 2 for found in hits for hit in found)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_a_corpus_on_the_disk_is_read_in_parts(tmp_path, precision, monkeypatch):
    monkeypatch.setattr(codes, "_TILE", 1 << 16)
    corpus = coded(np.tile(CORPUS, (100, 1)), precision)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    options = {"corpus_precision": precision, "ranges": RANGES, "output_index": True}
    semantic_search_quantized(QUERIES, corpus[:900], **options)  # imports
    tracemalloc.start()
    hits, _, index = semantic_search_quantized(QUERIES, mapped, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(index, mapped)
    assert peak < (12e6 if "int" in precision else 1.5e6)
    # 6.3 MB of bytes are 25 MB as float32; all distances of bits take 7.7 MB
    assert hits == semantic_search_quantized(QUERIES, corpus_index=corpus, **options)[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, SettingError, "one of the two"),
        ({"corpus_embeddings": CORPUS, "corpus_index": CORPUS}, SettingError, "one of the two"),
        ({"corpus_embeddings": CORPUS, "corpus_precision": "x"}, SettingError, "own tiles.*'x'"),
        ({"corpus_embeddings": CORPUS, "top_k": 0}, SettingError, "top_k"),
        (
            {"corpus_embeddings": CORPUS, "corpus_precision": "int8", "ranges": RANGES},
            InputError,
            "type float32 and corpus_precision is 'int8'.*quantize_embeddings",
        ),
        ({"corpus_index": coded(CORPUS, "binary"), "rescore": False}, InputError, "type int8"),
        (
            {"corpus_embeddings": coded(CORPUS, "ubinary")[:, :5], "corpus_precision": "ubinary"},
            InputError,
            r"equally wide in ubinary.*\(43, 9\) and \(900, 5\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        semantic_search_quantized(QUERIES, **options)


def test_a_rescore_without_effect_is_said(caplog):
    semantic_search_quantized(QUERIES, CORPUS)
    assert (
        "rescore=True of own tiles has no effect, since the corpus is not quantized" in caplog.text
    )
