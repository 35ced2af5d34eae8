"""Groups of texts that lie close to one of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sentune.checks import check_sizes
from sentune.search.tiles import Comparison, Rows
from sentune.types import ArrayLike
from sentune.vectors.similarity import cos_sim, dot_score, to_rows

_MOST = 1024  # proposals whose members are looked for at a time
_PLACES = 1 << 26  # of members of these proposals, one byte each


def community_detection(
    embeddings: ArrayLike,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Groups of rows, the largest group first; a group starts with its centre.

    Every row with enough others close to it proposes a group. The largest proposals are taken
    first, each without the rows that an earlier one has; what is left of it must still be large
    enough. Within a group the rows closest to the centre come first.

    Args:
        embeddings: `(b, d)`.
        threshold: Cosine from which on two rows are close.
        min_community_size: Smallest group, its centre included.
        batch_size: Rows compared with others at a time, at most. The result does not depend on it,
            and the memory stays below 200 MB besides the embeddings, however large the groups are.
        show_progress_bar: Whether to show a bar over the batches.
    """
    check_sizes(min_community_size=min_community_size, batch_size=batch_size)
    if len(embeddings) == 0:
        return []
    rows = Comparison(cos_sim).rows(to_rows(embeddings)).exact  # of length one
    sizes = _sizes(rows, threshold, batch_size, show_progress_bar)
    centers = np.argsort(-sizes, kind="stable")
    centers = centers[: int((sizes >= min_community_size).sum())]
    is_taken = np.zeros(len(rows), dtype=bool)
    communities = []
    for center, members in _proposals(rows, threshold, centers, is_taken):
        if len(members) >= min_community_size:
            community = [center, *_nearest_first(rows, center, members[members != center])]
            is_taken[community] = True
            communities.append(community)
    return sorted(communities, key=len, reverse=True)


def _sizes(rows: Tensor, threshold: float, batch_size: int, show_progress_bar: bool) -> np.ndarray:
    """How many rows are close to each row, itself included, `(b,)`; each pair is compared once."""
    comparison = Comparison(dot_score)
    height = min(comparison.tile(rows)[0], batch_size)
    width = comparison.tile(rows[:height])[1]
    # The numbers 0 and 1 are summed up much faster than booleans.
    sizes = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    starts = range(0, len(rows), height)
    for start in tqdm(starts, desc="Finding groups", disable=not show_progress_bar):
        left = Rows(rows[start : start + height])
        own = slice(start, start + len(left.exact))
        sizes[own] += (comparison.scores(left, left) >= threshold).sum(dim=1)
        for first in range(own.stop, len(rows), width):
            others = slice(first, first + width)
            scores = comparison.scores(left, Rows(rows[others]))
            is_close = torch.ge(scores, threshold, out=scores)
            sizes[own] += is_close.sum(dim=1).long()
            sizes[others] += is_close.sum(dim=0).long()
    return sizes.cpu().numpy()


def _proposals(
    rows: Tensor, threshold: float, centers: np.ndarray, is_taken: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Centres that are not taken when it is their turn, and the rows close to them that are not.

    Who uses them takes rows in between. The members of some centres are looked for at a time. One
    that is close to an earlier one is left out where it will be taken along with that one; if it is
    not, the next time begins with it and has all of them.
    """
    comparison = Comparison(dot_score)
    free, others = np.arange(len(rows)), rows
    count = max(1, min(_MOST, _PLACES // len(rows)))
    is_spread = True
    while len(centers):
        centers = centers[~is_taken[centers]]
        if is_taken[free].mean() > 1 / 4:
            free = free[~is_taken[free]]
            others = rows[torch.from_numpy(free).to(rows.device)]
        turn = centers[:count]
        if is_spread:
            turn = turn[_spread(comparison, rows, turn, threshold)]
        close = _close(comparison, rows, turn, others, threshold)
        is_close = dict(zip(turn.tolist(), close, strict=True))
        used, left = 0, centers[count:]
        for place, center in enumerate(centers[:count].tolist()):
            if is_taken[center]:
                continue
            if center not in is_close:
                left = centers[place:]
                break
            members = free[is_close[center]]
            used += 1
            yield center, members[~is_taken[members]]
        is_spread = len(left) == len(centers[count:]) and (is_spread or used < 3 / 4 * len(turn))
        centers = left


def _spread(
    comparison: Comparison, rows: Tensor, centers: np.ndarray, threshold: float
) -> np.ndarray:
    """Which centres are not close to an earlier one of these, `(c,)`."""
    is_close = _close(
        comparison, rows, centers, rows[torch.from_numpy(centers).to(rows.device)], threshold
    )
    is_left = np.ones(len(centers), dtype=bool)
    for place in range(len(centers)):
        if is_left[place]:
            is_left[place + 1 :] &= ~is_close[place, place + 1 :]
    return is_left


def _close(
    comparison: Comparison, rows: Tensor, centers: np.ndarray, others: Tensor, threshold: float
) -> np.ndarray:
    """Which of the others are close to each centre, `(c, n)`."""
    left = Rows(rows[torch.from_numpy(centers).to(rows.device)])
    width = comparison.tile(left.exact)[1]
    parts = [
        (comparison.scores(left, Rows(part)) >= threshold).cpu().numpy()
        for part in others.split(width)
    ]
    return np.concatenate(parts, axis=1)


def _nearest_first(rows: Tensor, center: int, members: np.ndarray) -> list[int]:
    others = torch.from_numpy(members).long().to(rows.device)
    order = (rows[others] @ rows[center]).sort(descending=True, stable=True).indices
    return others[order].tolist()
