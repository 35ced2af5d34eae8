"""Exact search: the nearest entries of a corpus for every query."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sentune.checks import check_sizes
from sentune.errors import InputError
from sentune.search.pairs import uncollected
from sentune.search.running import Nearest
from sentune.search.tiles import NO_LIMIT, NUMBERS, ROWS, Comparison, pays_to_screen
from sentune.search.top import Best
from sentune.types import ArrayLike
from sentune.vectors.similarity import Similarity, cos_sim, to_rows, to_tensor


def semantic_search(
    query_embeddings: ArrayLike,
    corpus_embeddings: ArrayLike,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500000,
    top_k: int = 10,
    score_function: Similarity = cos_sim,
) -> list[list[dict[str, int | float]]]:
    """For each query the nearest corpus entries, `[{"corpus_id": 3, "score": 0.9}, ...]`.

    Entries of equal score come in the order of the corpus. There are none in an empty one. An
    embedding with NaN is near nothing and is never among them.

    Args:
        query_embeddings: `(q, d)`, or one query `(d,)`.
        corpus_embeddings: `(c, d)`; the search runs on their device.
        query_chunk_size: Queries that a `score_function` of your own is given at most. With cosine
            and dot product it has no effect: 16 MB of scores are in memory, and parts of the
            embeddings, whatever is searched.
        corpus_chunk_size: The same for corpus entries.
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
    chunks = (query_chunk_size, corpus_chunk_size)
    hits: list[list[dict[str, int | float]]] = []
    everything = to_tensor(query_embeddings)
    everything = everything if everything.dim() > 1 else to_rows(everything)
    prepared = max(ROWS, NUMBERS // max(1, everything.shape[-1]))
    for queries in everything.split(prepared):
        queries = to_rows(queries).to(corpus.device)
        best = nearest(queries, [corpus], {"": score_function}, top_k, chunks)[""]
        with uncollected():
            found = zip(best.columns.tolist(), best.scores.tolist(), strict=True)
            hits += [_as_dicts(places, scores) for places, scores in found]
    return hits


def _as_dicts(places: list[int], scores: list[float]) -> list[dict[str, int | float]]:
    both = zip(places, scores, strict=True)
    return [{"corpus_id": place, "score": score} for place, score in both if score > -torch.inf]


def nearest(
    queries: Tensor,
    corpus_chunks: Iterable[Tensor],
    score_functions: dict[str, Similarity],
    k: int,
    largest: tuple[int, int] = NO_LIMIT,
) -> dict[str, Best]:
    """For each way to score the `k` nearest entries of each query `(q, d)`; the corpus in parts.

    `largest` limits the tiles of functions of a user's own, in rows and columns. An entry without
    a score, since the corpus is too small or has NaN, has minus infinity.
    """
    searches: dict[str, _Search] = {}
    for chunk in corpus_chunks:
        if not searches:
            is_screened = pays_to_screen(queries, len(chunk), k)
            searches = {
                name: _Search(queries, Comparison(score, is_screened, largest), k)
                for name, score in score_functions.items()
            }
        for search in searches.values():
            search.add(chunk.to(queries.device))
    if not searches:
        nothing = Best(
            queries.new_zeros(len(queries), 0), queries.new_zeros(len(queries), 0).long()
        )
        return dict.fromkeys(score_functions, nothing)
    return {name: search.best() for name, search in searches.items()}


class _Search:
    """One way to score, over a corpus that comes in parts."""

    def __init__(self, queries: Tensor, comparison: Comparison, k: int) -> None:
        self._comparison = comparison
        self._queries = comparison.rows(queries)
        self._k = k
        self._seen = 0
        self._found = Nearest(comparison, len(queries), k, self._queries.exact)

    def best(self) -> Best:
        """What was found, as many as there are."""
        found = self._found.best
        width = min(self._k, self._seen)
        return Best(found.scores[:, :width], found.columns[:, :width])

    def add(self, chunk: Tensor) -> None:
        """More of the corpus."""
        height, width = self._comparison.tile(self._queries.exact)
        for tile in chunk.split(width):
            columns = self._comparison.rows(tile)
            for start in range(0, len(self._queries.exact), height):
                rows = slice(start, min(start + height, len(self._queries.exact)))
                self._found.add_tile(rows, self._queries.part(rows), columns, self._seen)
            self._seen += len(tile)
