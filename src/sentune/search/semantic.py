"""Exact search: the nearest entries of a corpus for every query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sentune.checks import check_sizes
from sentune.errors import InputError
from sentune.search.top import Best, highest
from sentune.types import ArrayLike
from sentune.vectors.similarity import (
    Similarity,
    cos_sim,
    dot_score,
    normalize_embeddings,
    to_rows,
    to_tensor,
)


def semantic_search(
    query_embeddings: ArrayLike,
    corpus_embeddings: ArrayLike,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500000,
    top_k: int = 10,
    score_function: Similarity = cos_sim,
) -> list[list[dict[str, int | float]]]:
    """For each query the nearest corpus entries, `[{"corpus_id": 3, "score": 0.9}, ...]`.

    Entries of equal score come in the order of the corpus. There are none in an empty one.

    Args:
        query_embeddings: `(q, d)`, or one query `(d,)`.
        corpus_embeddings: `(c, d)`; the search runs on their device.
        query_chunk_size: Queries compared at a time. With the next it bounds the memory, to 4
            bytes a pair; the result does not depend on either.
        corpus_chunk_size: Corpus entries compared at a time.
        top_k: How many entries per query.
        score_function: Scores of all pairs, `(q, d), (c, d) -> (q, c)`; higher is nearer.
    """
    check_sizes(query_chunk_size=query_chunk_size, corpus_chunk_size=corpus_chunk_size, top_k=top_k)
    corpus = to_tensor(corpus_embeddings)
    if corpus.dim() and not len(corpus):  # of whatever width
        return [[] for _ in to_rows(query_embeddings)]
    if corpus.dim() != 2:
        raise InputError(
            f"the corpus must be a matrix of embeddings (c, d), got the shape {tuple(corpus.shape)}"
        )
    queries = to_rows(query_embeddings).to(corpus.device)
    chunks: Iterable[Tensor] = corpus.split(corpus_chunk_size)
    if score_function is cos_sim:  # lengths need dividing out once only
        queries, score_function = normalize_embeddings(queries), dot_score
        chunks = (normalize_embeddings(to_rows(chunk)) for chunk in chunks)
    best = nearest(queries, chunks, {"": score_function}, top_k, query_chunk_size)[""]
    return [
        [{"corpus_id": i, "score": score} for i, score in zip(ids, scores, strict=True)]
        for ids, scores in zip(best.columns.tolist(), best.scores.tolist(), strict=True)
    ]


def nearest(
    queries: Tensor,
    corpus_chunks: Iterable[Tensor],
    score_functions: dict[str, Similarity],
    k: int,
    query_chunk_size: int = 1024,
) -> dict[str, Best]:
    """For each way to score the `k` nearest entries of each query `(q, d)`; the corpus in parts."""
    nothing = Best(
        torch.zeros(len(queries), 0, device=queries.device),
        torch.zeros(len(queries), 0, dtype=torch.int64, device=queries.device),
    )
    best = dict.fromkeys(score_functions, nothing)
    start = 0
    for chunk in corpus_chunks:
        chunk = chunk.to(queries.device)
        for name, score in score_functions.items():
            parts = list(_scan(queries, chunk, score, k, query_chunk_size))
            if parts:
                found = Best(*(torch.cat(column) for column in zip(*parts, strict=True)))
                best[name] = best[name].merge(found.shift(start), k)
        start += len(chunk)
    return best


def _scan(
    queries: Tensor, chunk: Tensor, score: Similarity, k: int, query_chunk_size: int
) -> Iterator[Best]:
    for part in queries.split(query_chunk_size):
        if len(part) and len(chunk):
            yield highest(score(part, chunk).detach(), k)
