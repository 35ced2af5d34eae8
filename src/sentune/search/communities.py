"""Groups of texts that lie close to one of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sentune.checks import check_sizes
from sentune.types import ArrayLike
from sentune.vectors.similarity import normalize_embeddings, to_rows


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
        batch_size: Rows compared with all others at a time.
        show_progress_bar: Whether to show a bar over the batches.
    """
    check_sizes(min_community_size=min_community_size, batch_size=batch_size)
    if len(embeddings) == 0:
        return []
    rows = normalize_embeddings(to_rows(embeddings))
    proposals = dict(_proposals(rows, threshold, min_community_size, batch_size, show_progress_bar))
    is_taken = np.zeros(len(rows), dtype=bool)
    communities = []
    for center in sorted(proposals, key=lambda row: len(proposals[row]), reverse=True):
        if is_taken[center]:
            continue
        members = proposals[center]
        members = members[~is_taken[members]]
        if len(members) >= min_community_size:
            community = [center, *_nearest_first(rows, center, members[members != center])]
            is_taken[community] = True
            communities.append(community)
    return sorted(communities, key=len, reverse=True)


def _proposals(
    rows: Tensor, threshold: float, min_size: int, batch_size: int, show_progress_bar: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Rows with at least `min_size` rows close to them, and which these are, in ascending order."""
    starts = range(0, len(rows), batch_size)
    for start in tqdm(starts, desc="Finding groups", disable=not show_progress_bar):
        is_close = rows[start : start + batch_size] @ rows.T >= threshold  # (batch, b)
        sizes = is_close.sum(dim=1)
        centers = (sizes >= min_size).nonzero().squeeze(1)
        if len(centers):
            # int32 halves the memory, and there are fewer rows than it can count.
            members = is_close[centers].nonzero()[:, 1].int().cpu().numpy()
            ends = sizes[centers].cumsum(0)[:-1].tolist()
            yield from zip((centers + start).tolist(), np.split(members, ends), strict=True)


def _nearest_first(rows: Tensor, center: int, members: np.ndarray) -> list[int]:
    others = torch.from_numpy(members).long().to(rows.device)
    order = (rows[others] @ rows[center]).sort(descending=True, stable=True).indices
    return others[order].tolist()
