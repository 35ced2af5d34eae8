"""The most similar pairs within one set of texts."""

from __future__ import annotations

from itertools import combinations_with_replacement

import torch
from torch import Tensor

from sentune.checks import check_sizes
from sentune.errors import InputError
from sentune.search.top import Best, highest
from sentune.tables import rows_of
from sentune.types import ArrayLike, Encoder
from sentune.vectors.similarity import (
    Similarity,
    cos_sim,
    dot_score,
    normalize_embeddings,
    to_rows,
    to_tensor,
)

TILE = 4096  # rows; a tile of scores then takes 64 MiB, and as much again turned round


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
    scored once. Pairs of equal score come in the order of i, then j.

    Args:
        embeddings: `(b, d)`.
        query_chunk_size: Rows compared at a time, at most 4096. The result does not depend on it.
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
    rows = to_tensor(embeddings)
    if rows.dim() != 2:
        raise InputError(
            f"the embeddings must form a matrix (b, d), got the shape {tuple(rows.shape)}"
        )
    if score_function is cos_sim:  # lengths need dividing out once only
        rows, score_function = normalize_embeddings(to_rows(rows)), dot_score
    if len(rows) < 2:
        return []
    tile = min(query_chunk_size, corpus_chunk_size, TILE)
    return _pairs(_neighbours(rows, score_function, top_k, tile), max_pairs)


def _neighbours(rows: Tensor, score: Similarity, k: int, tile: int) -> Best:
    """The `k` nearest other rows of each row, from the upper triangle of the score matrix.

    A tile off the diagonal serves its rows and, turned round, its columns. Each row meets its
    columns from left to right, as merging needs.
    """
    blocks = rows.split(tile)
    found: list[Best | None] = [None] * len(blocks)

    def add(block: int, scores: Tensor, first_column: int) -> None:
        new = highest(scores, k).shift(first_column)
        old = found[block]
        found[block] = new if old is None else old.merge(new, k)

    for i, j in combinations_with_replacement(range(len(blocks)), 2):
        scores = score(blocks[i], blocks[j]).detach()
        if i == j:
            scores = scores.clone().fill_diagonal_(-torch.inf)  # no row is its own neighbour
        else:
            add(j, scores.T.contiguous(), i * tile)
        add(i, scores, j * tile)
    parts = [part for part in found if part is not None]
    return Best(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _pairs(best: Best, max_pairs: int) -> list[list[float | int]]:
    """Neighbours as pairs (i, j), each of them once, the highest scores first."""
    count = len(best.columns)
    row = torch.arange(count, device=best.columns.device).unsqueeze(1).expand_as(best.columns)
    low, high = torch.minimum(row, best.columns), torch.maximum(row, best.columns)
    is_pair = low != high
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
    lows, highs = (keys // count).tolist(), (keys % count).tolist()
    return [list(pair) for pair in zip(scores.tolist(), lows, highs, strict=True)]
