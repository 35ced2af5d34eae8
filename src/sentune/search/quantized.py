"""Search among embeddings in few bits: by own tiles, faiss or usearch; the best scored again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from sentune._lazy import need
from sentune.checks import check_sizes
from sentune.errors import InputError, SettingError
from sentune.search.codes import nearest_codes
from sentune.types import ArrayLike
from sentune.vectors.quantize import (
    PRECISIONS,
    as_numpy,
    dequantized,
    quantize_embeddings,
    ranges_of,
)

logger = logging.getLogger(__name__)

_NONE = -1  # where there are fewer entries than asked for
_LINKS = 16  # of each entry, in an index that is not exact
_SCALARS = ("int8", "uint8")
_BITS = ("binary", "ubinary")

Hits: TypeAlias = "list[list[dict[str, int | float]]]"


def semantic_search_quantized(
    query_embeddings: ArrayLike,
    corpus_embeddings: ArrayLike | None = None,
    corpus_index: np.ndarray | None = None,
    corpus_precision: Literal["float32", "int8", "uint8", "binary", "ubinary"] = "float32",
    top_k: int = 10,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """As `semantic_search_faiss`, without another library and for every precision.

    The corpus is compared in tiles, so that the memory besides it stays below 200 MB for a usual
    `top_k`; an array that is mapped from the disk (`np.load(..., mmap_mode="r")`) may be larger
    than the memory. Scores that are not made again are dot products of what the corpus holds,
    highest first, or the number of bits that differ, smallest first. Entries of equal score come in
    the order of the corpus; one with NaN is never found.

    Args:
        query_embeddings: See `semantic_search_faiss`.
        corpus_embeddings: See there; an array.
        corpus_index: The same as `corpus_embeddings`: nothing else is kept of them.
        corpus_precision: "float32", "int8", "uint8", "binary" or "ubinary".
        top_k: See there.
        ranges: See there, for int8 and uint8.
        calibration_embeddings: See there.
        rescore: See there.
        rescore_multiplier: See there. With bits 4 or more finds nearly what float32 finds.
        exact: Has no effect: the search is always exact.
        output_index: Whether the result has the array, too.

    Raises:
        SettingError: If not one of corpus and index is given, or the precision is another.
        InputError: If the corpus is not in that precision, is not as wide as the queries, or if
            ranges are missing or do not fit.
    """
    if corpus_embeddings is None:
        corpus_embeddings, corpus_index = corpus_index, None
    engine = _Engine(
        "own tiles",
        PRECISIONS,
        _own_index,
        partial(_own_find, precision=corpus_precision),
        partial(_own_codes, precision=corpus_precision),
    )
    return _search(
        engine,
        query_embeddings,
        corpus_embeddings,
        corpus_index,
        _Options(corpus_precision, top_k, ranges, calibration_embeddings, rescore, exact),
        rescore_multiplier,
        output_index,
    )


def semantic_search_faiss(
    query_embeddings: ArrayLike,
    corpus_embeddings: ArrayLike | None = None,
    corpus_index: Any = None,
    corpus_precision: Literal["float32", "uint8", "ubinary"] = "float32",
    top_k: int = 10,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """The nearest entries of a corpus by faiss: `(hits, seconds)`, and its index if asked for.

    `hits` are as those of `semantic_search`. Scores are dot products, or bits that differ where the
    corpus has bits and nothing is scored again.

    Args:
        query_embeddings: `(q, d)` as the model made them, or in the precision of the corpus.
        corpus_embeddings: `(c, d)` in `corpus_precision`, as `quantize_embeddings` gives them.
        corpus_index: An index of them, in their place.
        corpus_precision: "float32", "uint8" or "ubinary".
        top_k: How many entries per query.
        ranges: Smallest and largest value of each dimension `(2, d)` that the corpus was quantized
            with, for uint8.
        calibration_embeddings: Embeddings to take the ranges from where these are not given.
        rescore: Score `top_k * rescore_multiplier` entries again with the queries as the model made
            them; where queries or corpus cannot be used so, a warning says it.
        rescore_multiplier: See `rescore`.
        exact: Compare with all entries; else by a graph of neighbours (HNSW).
        output_index: Whether the result has the index, too.

    Raises:
        SettingError: If not one of corpus and index is given, or the precision is another.
        InputError: If ranges are missing or do not fit.
        MissingDependencyError: If faiss is not installed.
    """
    engine = _Engine(
        "faiss", ("float32", "uint8", "ubinary"), _faiss_index, _faiss_find, _faiss_codes
    )
    return _search(
        engine,
        query_embeddings,
        corpus_embeddings,
        corpus_index,
        _Options(corpus_precision, top_k, ranges, calibration_embeddings, rescore, exact),
        rescore_multiplier,
        output_index,
    )


def semantic_search_usearch(
    query_embeddings: ArrayLike,
    corpus_embeddings: ArrayLike | None = None,
    corpus_index: Any = None,
    corpus_precision: Literal["float32", "int8", "ubinary", "binary"] = "float32",
    top_k: int = 10,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
    rescore: bool = True,
    rescore_multiplier: int = 2,
    exact: bool = True,
    output_index: bool = False,
) -> tuple[Any, ...]:
    """As `semantic_search_faiss`, by usearch; for "float32", "int8", "ubinary" and "binary".

    Scores that are not made again are distances of usearch, smallest first: one minus the cosine of
    float32, one minus the dot product of int8, and the number of bits that differ.
    """
    precisions = ("float32", "int8", "ubinary", "binary")
    engine = _Engine("usearch", precisions, _usearch_index, _usearch_find, _usearch_codes)
    return _search(
        engine,
        query_embeddings,
        corpus_embeddings,
        corpus_index,
        _Options(corpus_precision, top_k, ranges, calibration_embeddings, rescore, exact),
        rescore_multiplier,
        output_index,
    )


@dataclass(frozen=True)
class _Options:
    precision: str
    top_k: int
    ranges: np.ndarray | None
    calibration: np.ndarray | None
    rescore: bool
    exact: bool


@dataclass(frozen=True)
class _Engine:
    """A library that searches."""

    name: str
    precisions: tuple[str, ...]
    index: Callable[[np.ndarray, _Options], Any]
    find: Callable[[Any, np.ndarray, int, bool], tuple[np.ndarray, np.ndarray]]  # scores, entries
    codes: Callable[[Any, np.ndarray], np.ndarray]  # what the index holds of entries (n,): (n, .)


def _search(
    engine: _Engine,
    queries: ArrayLike,
    corpus: ArrayLike | None,
    index: Any,
    options: _Options,
    multiplier: int,
    output_index: bool,
) -> tuple[Any, ...]:
    _check(engine, corpus, index, options, multiplier)
    if index is None:
        index = engine.index(np.atleast_2d(as_numpy(corpus)), options)
    whole = np.atleast_2d(as_numpy(queries))
    coded, ranges, is_rescored = _prepared(engine, whole, options)
    began = time.monotonic()
    count = options.top_k * (multiplier if is_rescored else 1)
    scores, entries = engine.find(index, coded, count, options.exact)
    if is_rescored:
        scores = _rescored(engine, index, whole, entries, options.precision, ranges)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : options.top_k]
        scores, entries = (np.take_along_axis(one, order, axis=1) for one in (scores, entries))
    seconds = time.monotonic() - began
    hits: Hits = [
        [
            {"corpus_id": int(entry), "score": float(score)}
            for score, entry in zip(*row, strict=True)
            if entry != _NONE
        ]
        for row in zip(scores, entries, strict=True)
    ]
    return (hits, seconds, index) if output_index else (hits, seconds)


def _check(engine: _Engine, corpus: Any, index: Any, options: _Options, multiplier: int) -> None:
    if (corpus is None) == (index is None):
        raise SettingError("give either corpus_embeddings or corpus_index, one of the two")
    if options.precision not in engine.precisions:
        raise SettingError(
            f"corpus_precision must be one of {engine.precisions} for {engine.name}, got "
            f"{options.precision!r}"
        )
    check_sizes(top_k=options.top_k, rescore_multiplier=multiplier)


def _prepared(
    engine: _Engine, queries: np.ndarray, options: _Options
) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """The queries in the precision of the corpus, the ranges, and whether to score again."""
    precision, ranges = options.precision, options.ranges
    is_coded = queries.dtype in (np.uint8, np.int8)
    is_rescored = options.rescore and not is_coded and precision != "float32"
    if options.rescore and not is_rescored:
        what = "the queries are quantized" if is_coded else "the corpus is not quantized"
        logger.warning("rescore=True of %s has no effect, since %s", engine.name, what)
    if not is_coded:
        if precision in _SCALARS:
            ranges = ranges_of(queries, ranges, options.calibration)
        queries = quantize_embeddings(queries, precision, ranges)  # type: ignore[arg-type]
    return _as_bits(queries, precision), ranges, is_rescored


def _rescored(
    engine: _Engine,
    index: Any,
    queries: np.ndarray,
    entries: np.ndarray,
    precision: str,
    ranges: np.ndarray | None,
) -> np.ndarray:
    """Dot products of queries `(q, d)` with the entries `(q, k)` that were found for them."""
    scores = np.full(entries.shape, -np.inf)
    for query, found, row in zip(queries, entries, scores, strict=True):
        is_there = found != _NONE
        if not is_there.any():
            continue
        values = engine.codes(index, found[is_there])
        if precision in _BITS:  # whose last byte is filled up
            values = np.unpackbits(values.astype(np.uint8), axis=-1)[:, : len(query)]
        elif ranges is not None:
            values = dequantized(values, ranges, is_signed=precision == "int8")
        row[is_there] = values.astype(np.float64) @ query
    return scores


def _as_bits(values: np.ndarray, precision: str) -> np.ndarray:
    """Bytes of "binary" as those of "ubinary", which are the bits themselves."""
    return values.view(np.uint8) ^ 0x80 if precision == "binary" else values


def _own_index(corpus: np.ndarray, options: _Options) -> np.ndarray:
    wanted = {"binary": "int8", "ubinary": "uint8"}.get(options.precision, options.precision)
    is_floating = corpus.dtype.kind == "f" and wanted == "float32"
    if corpus.dtype != wanted and not is_floating:
        raise InputError(
            f"the corpus has numbers of the type {corpus.dtype} and corpus_precision is "
            f"{options.precision!r}; make it with quantize_embeddings(corpus, "
            f"precision={options.precision!r}), or give the precision that it has"
        )
    return corpus


def _own_find(
    corpus: np.ndarray, queries: np.ndarray, count: int, exact: bool, precision: str
) -> tuple[np.ndarray, np.ndarray]:
    if queries.shape[1] != corpus.shape[1]:
        raise InputError(
            f"queries and corpus must be equally wide in {precision}, got the shapes "
            f"{queries.shape} and {corpus.shape}; truncate both to the same dimension"
        )
    scores, entries = nearest_codes(queries, corpus, count, precision)
    return scores, np.where(np.isfinite(scores), entries, _NONE)


def _own_codes(corpus: np.ndarray, entries: np.ndarray, precision: str) -> np.ndarray:
    return _as_bits(corpus[entries], precision)


def _faiss_index(corpus: np.ndarray, options: _Options) -> Any:
    faiss, width = need("faiss", "faiss"), corpus.shape[1]
    if options.precision == "ubinary":
        kind = faiss.IndexBinaryFlat if options.exact else faiss.IndexBinaryHNSW
        index = kind(width * 8) if options.exact else kind(width * 8, _LINKS)
    elif options.exact:
        index = faiss.IndexFlatIP(width)
    else:
        index = faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
    kind_of_number = np.uint8 if options.precision == "ubinary" else np.float32
    index.add(np.ascontiguousarray(corpus, dtype=kind_of_number))
    return index


def _faiss_find(
    index: Any, queries: np.ndarray, count: int, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    scores, entries = index.search(np.ascontiguousarray(queries), count)
    return scores, entries


def _faiss_codes(index: Any, entries: np.ndarray) -> np.ndarray:
    return np.stack([index.reconstruct(int(entry)) for entry in entries])


def _usearch_index(corpus: np.ndarray, options: _Options) -> Any:
    kinds = {"float32": ("cos", "f32"), "int8": ("ip", "i8")}
    metric, number = kinds.get(options.precision, ("hamming", "b1"))
    width = corpus.shape[1] * (8 if number == "b1" else 1)
    index = need("usearch.index", "usearch").Index(ndim=width, metric=metric, dtype=number)
    index.add(np.arange(len(corpus)), _as_bits(corpus, options.precision))
    return index


def _usearch_find(
    index: Any, queries: np.ndarray, count: int, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    found = index.search(queries, count=count, exact=exact)
    scores, keys = np.atleast_2d(found.distances), np.atleast_2d(found.keys).astype(np.int64)
    # What is behind the entries that there are is left over in memory.
    counts = np.asarray(getattr(found, "counts", keys.shape[1])).reshape(-1, 1)
    return scores, np.where(np.arange(keys.shape[1]) < counts, keys, _NONE)


def _usearch_codes(index: Any, entries: np.ndarray) -> np.ndarray:
    return np.asarray(index.get(entries.astype(np.uint64)))
