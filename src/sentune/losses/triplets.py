"""Triplets given by the data: an anchor closer to its positive than to its negative."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sentune.checks import a_function
from sentune.data.forms import TRIPLET
from sentune.losses.base import Compare, Loss
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import (
    pairwise_cos_sim,
    pairwise_euclidean_sim,
    pairwise_manhattan_sim,
)


class TripletDistanceMetric:
    """Distances of `(b, d)` to `(b, d)`, row by row, for `TripletLoss`."""

    @staticmethod
    def COSINE(x: Tensor, y: Tensor) -> Tensor:
        """1 - cosine, in [0, 2]."""
        return 1 - pairwise_cos_sim(x, y)

    @staticmethod
    def EUCLIDEAN(x: Tensor, y: Tensor) -> Tensor:
        """Euclidean distance."""
        return -pairwise_euclidean_sim(x, y)

    @staticmethod
    def MANHATTAN(x: Tensor, y: Tensor) -> Tensor:
        """Sum of absolute differences."""
        return -pairwise_manhattan_sim(x, y)


class TripletLoss(Loss):
    """The positive has to be closer to the anchor than the negative, by a margin.

        loss = mean_i relu( dist(a_i, p_i) - dist(a_i, n_i) + margin )

    Inputs: anchor, positive, negative. Labels: none.

    Args:
        distance_metric: Maps `(b, d)` and `(b, d)` to `(b,)` distances.
        triplet_margin: In units of the distance. 5 suits euclidean distances of unnormalised
            embeddings; cosine distances lie in [0, 2].

    Source:
        Schroff et al. 2015, FaceNet, equation 3, https://arxiv.org/abs/1503.03832, with the
        distance where the paper has its square.
    """

    inputs = "3 columns (anchor, positive, negative)"
    forms = (TRIPLET,)
    option_names = ("distance_metric", "triplet_margin")

    def __init__(
        self,
        model: EmbeddingModel,
        distance_metric: Compare = TripletDistanceMetric.EUCLIDEAN,
        triplet_margin: float = 5,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.distance_metric = a_function("distance_metric", distance_metric)
        self.triplet_margin = triplet_margin

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of `(b, d)` anchors, positives and negatives."""
        anchor, positive, negative = self.take(columns)
        closer = self.distance_metric(anchor, positive) - self.distance_metric(anchor, negative)
        return (closer + self.triplet_margin).relu().mean()
