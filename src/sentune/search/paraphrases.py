"""The most similar pairs within one set of texts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations_with_replacement, product

import torch
from torch import Tensor

from sentune.checks import check_sizes
from sentune.errors import InputError
from sentune.search.pairs import Pairs
from sentune.search.running import BestPairs, Nearest
from sentune.search.tiles import NUMBERS, Comparison, Hits, Rows, hits_above, pays_to_screen
from sentune.search.top import Best
from sentune.tables import rows_of
from sentune.types import ArrayLike, Encoder
from sentune.vectors.similarity import (
    Similarity,
    cos_sim,
    to_tensor,
)

TILE = 1024  # rows; a tile of scores then takes 4 MiB, and as much again turned round
_GROUP = 16  # blocks, at most, that are compared with as many others before the next are prepared
_ROOMS = (1.5, 12.0, math.inf)


def paraphrase_mining(
    model: Encoder,
    sentences: list[str],
    show_progress_bar: bool = False,
    batch_size: int | None = None,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: Similarity = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[float | int]]:
    """The most similar pairs of sentences, `[[score, i, j], ...]`, best first and i < j.

    The arguments of encoding are those of `encode`, the others of `paraphrase_mining_embeddings`.
    """
    embeddings = model.encode(
        rows_of(sentences, "sentences"),
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        convert_to_tensor=True,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return paraphrase_mining_embeddings(
        embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function
    )


def paraphrase_mining_embeddings(
    embeddings: ArrayLike,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: Similarity = cos_sim,
) -> list[list[float | int]]:
    """The most similar pairs of rows, `[[score, i, j], ...]`, best first and i < j.

    A pair is found where one of the two is among the `top_k` nearest of the other. Each pair is
    scored once. Pairs of equal score come in the order of i, then j. An embedding with NaN is in no
    pair.

    Args:
        embeddings: `(b, d)`.
        query_chunk_size: Rows that a `score_function` of your own is given at most. The result does
            not depend on it.
        corpus_chunk_size: The same for the other side; the smaller of both counts.
        max_pairs: Pairs to give back.
        top_k: Neighbours considered per row.
        score_function: Scores of all pairs; must be symmetric, higher is more similar.
    """
    check_sizes(
        query_chunk_size=query_chunk_size,
        corpus_chunk_size=corpus_chunk_size,
        max_pairs=max_pairs,
        top_k=top_k,
    )
    rows = _matrix(embeddings)
    if len(rows) < 2:
        return []
    top_k = min(top_k, len(rows) - 1)
    comparison = Comparison(score_function, pays_to_screen(rows, len(rows), top_k))
    limit = min(TILE, query_chunk_size, corpus_chunk_size)
    blocks = _Blocks(rows, comparison, TILE if comparison.is_product else limit)
    if len(rows) * top_k >= 2 * max_pairs:  # else the lists of neighbours are shorter
        highest, is_all = _highest(blocks, 2 * max_pairs)
        near = highest.within_ranks(top_k)
        if is_all or len(near.scores) >= max_pairs:
            return near.as_lists(max_pairs)
    return _pairs(_neighbours(blocks, top_k), max_pairs)


def most_similar_pairs(
    embeddings: ArrayLike, k: int = 10, score_function: Similarity = cos_sim
) -> list[list[float | int]]:
    """The `k` most similar pairs of rows, `[[score, i, j], ...]`, best first and i < j; exactly.

    Unlike `paraphrase_mining_embeddings` it looks at all pairs, however many of them a row is in.
    Pairs of equal score come in the order of i, then j. An embedding with NaN is in no pair.

    Args:
        embeddings: `(b, d)`.
        k: How many pairs.
        score_function: Scores of all pairs; must be symmetric, higher is more similar.
    """
    check_sizes(k=k)
    rows = _matrix(embeddings)
    most = 2 * k // max(1, len(rows)) + 1  # of each row, on average
    comparison = Comparison(score_function, pays_to_screen(rows, len(rows), most))
    return _highest(_Blocks(rows, comparison), k)[0].as_lists(k)


def _highest(blocks: _Blocks, k: int) -> tuple[Pairs, bool]:
    """The `k` highest pairs, best first, and whether that is all of them."""
    wanted = min(k, blocks.count * (blocks.count - 1) // 2)
    for room in _ROOMS:
        floor = _floor(blocks, wanted, room)
        found = BestPairs(k, floor)
        for i, j in blocks.pairs():
            left, right = blocks[i], blocks[j]
            floors = found.floor.expand(len(left.exact))
            hits = blocks.comparison.above(left, right, floors)
            if not isinstance(hits, Hits):
                hits = hits_above(hits, floors)
            rows, columns = hits.rows + i * blocks.size, hits.columns + j * blocks.size
            is_pair = rows < columns
            found.add(hits.scores[is_pair], rows[is_pair], columns[is_pair])
        best = found.best()
        if len(best.scores) >= wanted:
            break
    return best, not found.is_cut and bool(floor == -torch.inf)


def _floor(blocks: _Blocks, wanted: int, room: float) -> Tensor:
    """A score, `(1,)`, that as many pairs as wanted are above, by what a sample of the rows says.

    `room` is for how many times as many it leaves.
    """
    share = wanted / max(1, blocks.count * (blocks.count - 1) // 2)
    if share * room >= 1:
        return torch.full((1,), -torch.inf, device=blocks[0].exact.device)
    rows = blocks.sample()
    scores = blocks.comparison.scores(rows, rows)
    scores = torch.where(scores.isnan(), -torch.inf, scores)
    places = torch.triu_indices(len(rows.exact), len(rows.exact), 1, device=scores.device)
    scores = scores[places[0], places[1]]
    place = max(min(wanted, TILE), math.ceil(min(share * room, 1) * len(scores)))
    if place >= len(scores):
        return scores.new_full((1,), -torch.inf)
    lowest = scores.topk(place, sorted=False).values.min()
    return (lowest - 1e-5 * lowest.abs())[None]  # in another tile it may be rounded differently


def _matrix(embeddings: ArrayLike) -> Tensor:
    rows = to_tensor(embeddings)
    if rows.dim() != 2:
        raise InputError(
            f"the embeddings must form a matrix (b, d), got the shape {tuple(rows.shape)}"
        )
    return rows


class _Blocks:
    """Rows in blocks, prepared when they are needed and kept while they are few."""

    def __init__(self, rows: Tensor, comparison: Comparison, size: int = 0) -> None:
        self.size = size or TILE
        self.count = len(rows)
        self.comparison = comparison
        self._rows = rows
        numbers = self.size * max(1, rows.shape[1])
        self._group = max(1, min(_GROUP, 2 * NUMBERS // numbers))
        self._kept = lru_cache(maxsize=2 * self._group)(self._prepared)

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __getitem__(self, place: int) -> Rows:
        return self._kept(place)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """All pairs (i, j) with i <= j, such that for each block the others come in their order."""
        starts = range(0, len(self), self._group)
        groups = [range(len(self))[at : at + self._group] for at in starts]
        for left, right in combinations_with_replacement(groups, 2):
            both = product(left, right)
            yield from ((i, j) for i, j in both if i <= j)

    def sample(self) -> Rows:
        """Some rows from all over, as many as a block has."""
        return self.comparison.rows(self._rows[:: -(-max(1, self.count) // self.size)])

    def _prepared(self, place: int) -> Rows:
        return self.comparison.rows(self._rows[place * self.size : (place + 1) * self.size])


def _neighbours(blocks: _Blocks, k: int) -> Best:
    """The `k` nearest other rows of each row, from the upper triangle of the score matrix.

    A tile off the diagonal serves its rows and, turned round, its columns. Each row meets its
    columns from left to right, as merging needs.
    """
    comparison, tile = blocks.comparison, blocks.size
    found = Nearest(comparison, blocks.count, k, blocks[0].exact)
    for i, j in blocks.pairs():
        left, right = blocks[i], blocks[j]
        at = slice(i * tile, i * tile + len(left.exact))
        others = slice(j * tile, j * tile + len(right.exact))
        floors, other_floors = found.floors(at), found.floors(others)
        hits = comparison.above(left, right, floors, None if i == j else other_floors)
        if not isinstance(hits, Hits):
            if i == j:
                hits.fill_diagonal_(-torch.inf)  # no row is its own neighbour
            else:
                found.add_scores(others, hits.T.contiguous(), at.start, right, left)
            found.add_scores(at, hits, others.start, left, right)
            continue
        if i == j:
            hits = hits.keep(hits.rows != hits.columns)
        else:
            below = hits.keep(hits.scores > other_floors[hits.columns]).turned()
            found.add(others.start, below, at.start)
        found.add(at.start, hits.keep(hits.scores > floors[hits.rows]), others.start)
    return found.best


def _pairs(best: Best, max_pairs: int) -> list[list[float | int]]:
    """Neighbours as pairs (i, j), each of them once, the highest scores first."""
    count = len(best.columns)
    row = torch.arange(count, device=best.columns.device).unsqueeze(1).expand_as(best.columns)
    low, high = torch.minimum(row, best.columns), torch.maximum(row, best.columns)
    is_pair = best.scores > -torch.inf  # places that stayed empty
    scores, keys = best.scores[is_pair], (low * count + high)[is_pair]
    if len(scores) > 2 * max_pairs:  # a pair is here twice at most: more cannot be needed
        is_high = scores >= scores.topk(2 * max_pairs, sorted=False).values.min()
        scores, keys = scores[is_high], keys[is_high]
    keys, order = keys.sort(stable=True)
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = keys[1:] != keys[:-1]
    keys, scores = keys[is_first], scores[order][is_first]
    scores, order = scores.sort(descending=True, stable=True)
    scores, keys = scores[:max_pairs], keys[order[:max_pairs]]
    parts = (scores, keys // count, keys % count)
    return Pairs(*(part.cpu().numpy() for part in parts)).as_lists(max_pairs)
