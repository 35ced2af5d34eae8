"""In-batch contrast (InfoNCE): a text finds its partner among all other texts of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from sentune.checks import a_function, one_of
from sentune.data.forms import NEGATIVES, PAIR, TRIPLET
from sentune.errors import SettingError, warn
from sentune.losses.base import Compare, Loss
from sentune.losses.cached import CachedLossMixin
from sentune.losses.embed import by_rows
from sentune.machine.distributed import gather_rows
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import cos_sim

Direction = Literal["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]
Partition = Literal["joint", "per_direction"]
Hardness = Literal["in_batch_negatives", "hard_negatives", "all_negatives"]

_DIRECTIONS = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
_SYMMETRIC: tuple[Direction, ...] = ("query_to_doc", "doc_to_query")
_EACH: Partition = "per_direction"
_HARDNESS = (None, "in_batch_negatives", "hard_negatives", "all_negatives")


class MultipleNegativesRankingLoss(Loss):
    """InfoNCE with in-batch negatives: each query has to find its document among all documents.

    With `s` = `scale` · similarity and `D` all `b·k` documents of the batch:

        loss = mean_i [ logsumexp_{d in D} s(q_i, d) - s(q_i, d_i) ]

    More directions put more negatives into the sum: other queries for the query, and for the
    document `d_i` the other queries and other documents.

    Inputs: query, positive[, negative_1, ... _k]. Labels: none.

    Args:
        scale: Inverse temperature, > 0. 20 suits cosines; take 1 for a dot product.
        similarity_fct: Maps `(m, d)` and `(n, d)` to `(m, n)` scores.
        gather_across_devices: Whether the documents (and queries) of all processes are negatives.
        directions: Which pairs are contrasted; "query_to_doc" must be one of them.
        partition_mode: "joint": one softmax over all directions. "per_direction": the mean of
            one softmax each, for query_to_doc and doc_to_query only.
        hardness_mode: Which negatives weigh more the closer they are: "in_batch_negatives" (those
            of other rows), "hard_negatives" (a row's own), "all_negatives"; None for no weighting.
        hardness_strength: How much: strength · (unscaled similarity) is added to their logits.
        mini_batch_size: As in `Loss`, and rows of the score matrix kept at a time.

    Source:
        Henderson et al. 2017, section 4.4, https://arxiv.org/abs/1705.00652; van den Oord et al.
        2018, https://arxiv.org/abs/1807.03748. Directions: GTE, equation 2,
        https://arxiv.org/abs/2308.03281. Mini-batches: Gao et al. 2021,
        https://arxiv.org/abs/2101.06983.
    """

    inputs = "2 or more columns (query, positive, negative_1, ...)"
    forms = (PAIR, TRIPLET, NEGATIVES)
    has_batch_negatives = True
    option_names = (
        "scale",
        "similarity_fct",
        "gather_across_devices",
        "directions",
        "partition_mode",
        "hardness_mode",
        "hardness_strength",
    )

    def __init__(
        self,
        model: EmbeddingModel,
        scale: float = 20.0,
        similarity_fct: Compare = cos_sim,
        gather_across_devices: bool = False,
        directions: Sequence[Direction] = ("query_to_doc",),
        partition_mode: Partition = "joint",
        hardness_mode: Hardness | None = None,
        hardness_strength: float = 0.0,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        if not scale > 0:
            raise SettingError(f"scale must be > 0, got {scale}; it is 1 / temperature")
        self.scale = scale
        self.similarity_fct = a_function("similarity_fct", similarity_fct)
        self.gather_across_devices = gather_across_devices
        self.partition_mode = one_of("partition_mode", partition_mode, ("joint", "per_direction"))
        self.directions = _checked(directions, partition_mode)
        self.hardness_mode = one_of("hardness_mode", hardness_mode, _HARDNESS)
        if not hardness_strength >= 0:
            raise SettingError(f"hardness_strength must be >= 0, got {hardness_strength}")
        if hardness_mode is not None and hardness_strength == 0:
            warn(
                f"hardness_mode={hardness_mode!r} does nothing with hardness_strength=0; "
                "set a positive strength, such as 9"
            )
        self.hardness_strength = hardness_strength

    @property
    def temperature(self) -> float:
        """1 / scale."""
        return 1.0 / self.scale

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of `(b, d)` queries, positives and any number of columns of negatives."""
        taken = self.take(columns)
        b, start = len(taken[0]), 0
        if self.gather_across_devices:
            taken, start = gather_rows(taken)
        queries, *docs = taken
        rows = torch.arange(start, start + b, device=queries.device)
        every = torch.cat(docs)  # (N·k, d), positives first
        score = partial(self._row_losses, queries=queries, positives=docs[0], docs=every)
        return by_rows(score, rows, self.mini_batch_size).mean()

    def _row_losses(self, rows: Tensor, queries: Tensor, positives: Tensor, docs: Tensor) -> Tensor:
        """Loss of each of the rows `(c,)`, numbered among all N queries."""
        own = rows[:, None] == torch.arange(len(queries), device=rows.device)  # (c, N)
        similarity = self.similarity_fct
        scores = similarity(queries[rows], docs)  # (c, N·k)
        logits = [self.scale * scores + self._hardness(scores.detach(), own)]
        partner = logits[0].gather(1, rows[:, None]).squeeze(1)  # (c,)
        if "query_to_query" in self.directions:
            among = similarity(queries[rows], queries).masked_fill(own, -torch.inf)
            logits.append(self.scale * among)
        if "doc_to_query" in self.directions:
            logits.append(self.scale * similarity(queries, positives[rows]).T)
        if "doc_to_doc" in self.directions:
            among = similarity(docs, positives[rows]).T
            mine = own.repeat(1, len(docs) // len(queries))
            logits.append(self.scale * among.masked_fill(mine, -torch.inf))
        if self.partition_mode == "joint":
            return torch.cat(logits, dim=1).logsumexp(dim=1) - partner
        return torch.stack([part.logsumexp(dim=1) for part in logits]).mean(dim=0) - partner

    def _hardness(self, scores: Tensor, own: Tensor) -> Tensor | float:
        """What is added to the logits of negatives `(c, N·k)`, the more the closer they are."""
        if self.hardness_mode is None or self.hardness_strength == 0:
            return 0.0
        n = own.shape[1]
        mine = own.repeat(1, scores.shape[1] // n)  # documents of the query's own row
        is_explicit = torch.arange(scores.shape[1], device=own.device) >= n
        weighted = {
            "in_batch_negatives": ~mine,
            "hard_negatives": mine & is_explicit,
            "all_negatives": ~mine | is_explicit,
        }[self.hardness_mode]
        return self.hardness_strength * scores * weighted


class CachedMultipleNegativesRankingLoss(CachedLossMixin, MultipleNegativesRankingLoss):
    """`MultipleNegativesRankingLoss` with `mini_batch_size` set: large batches, little memory.

    Arguments as there; for the mini-batches also those of `Loss.set_mini_batches`.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        scale: float = 20.0,
        similarity_fct: Compare = cos_sim,
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        gather_across_devices: bool = False,
        directions: Sequence[Direction] = ("query_to_doc",),
        partition_mode: Partition = "joint",
        show_progress_bar: bool = False,
        hardness_mode: Hardness | None = None,
        hardness_strength: float = 0.0,
    ) -> None:
        options = (scale, similarity_fct, gather_across_devices, directions, partition_mode)
        hardness = (hardness_mode, hardness_strength)
        super().__init__(model, *options, *hardness, mini_batch_size=mini_batch_size)
        self.set_mini_batches(mini_batch_num_tokens, show_progress_bar)


class MultipleNegativesSymmetricRankingLoss(MultipleNegativesRankingLoss):
    """`MultipleNegativesRankingLoss` from query to document and back, a softmax each; as there."""

    def __init__(
        self,
        model: EmbeddingModel,
        scale: float = 20.0,
        similarity_fct: Compare = cos_sim,
        gather_across_devices: bool = False,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        options = (scale, similarity_fct, gather_across_devices, _SYMMETRIC, _EACH)
        super().__init__(model, *options, mini_batch_size=mini_batch_size)


class CachedMultipleNegativesSymmetricRankingLoss(
    CachedLossMixin, MultipleNegativesSymmetricRankingLoss
):
    """`MultipleNegativesSymmetricRankingLoss` with `mini_batch_size` set.

    Arguments as there; for the mini-batches also those of `Loss.set_mini_batches`.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        scale: float = 20.0,
        similarity_fct: Compare = cos_sim,
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        gather_across_devices: bool = False,
        show_progress_bar: bool = False,
    ) -> None:
        options = (scale, similarity_fct, gather_across_devices)
        super().__init__(model, *options, mini_batch_size=mini_batch_size)
        self.set_mini_batches(mini_batch_num_tokens, show_progress_bar)


def _checked(directions: Sequence[Direction], partition_mode: Partition) -> tuple[Direction, ...]:
    for direction in directions:
        one_of("directions", direction, _DIRECTIONS)
    if "query_to_doc" not in directions:
        raise SettingError(
            f"directions must contain 'query_to_doc', the pair to be found; got {tuple(directions)}"
        )
    without_positive = {"query_to_query", "doc_to_doc"} & set(directions)
    if partition_mode == "per_direction" and without_positive:
        raise SettingError(
            f"partition_mode='per_direction' needs the positive in every direction, which "
            f"{sorted(without_positive)} have not; use partition_mode='joint'"
        )
    return tuple(directions)
