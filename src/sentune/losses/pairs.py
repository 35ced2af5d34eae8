"""Pairs of texts with a label: how alike they are, or whether they match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.checks import a_function
from sentune.data.forms import PAIR_AND_MATCH, PAIR_AND_SCORE, Limits
from sentune.errors import warn
from sentune.losses.base import Compare, Loss, LossValue
from sentune.types import EmbeddingModel, Features


class CosineSimilarityLoss(Loss):
    """The cosine of the two embeddings has to equal the label.

        loss = loss_fct( transformation(cos(u_i, v_i)), label_i )

    Inputs: sentence_1, sentence_2. Labels: float score, in [-1, 1].

    Args:
        loss_fct: Maps scores `(b,)` and labels `(b,)` to a scalar; mean squared error by default.
        cos_score_transformation: Applied to the cosines, such as `torch.nn.Sigmoid()`.

    Source: Reimers and Gurevych 2019, section 3, https://arxiv.org/abs/1908.10084.
    """

    inputs = "2 columns (sentence_1, sentence_2)"
    forms = (PAIR_AND_SCORE,)
    limits = Limits(scores=(-1.0, 1.0))
    option_names = ("loss_fct", "cos_score_transformation")

    def __init__(
        self,
        model: EmbeddingModel,
        loss_fct: nn.Module | None = None,
        cos_score_transformation: nn.Module | None = None,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.loss_fct = loss_fct or nn.MSELoss()
        self.cos_score_transformation = cos_score_transformation or nn.Identity()
        if not isinstance(self.cos_score_transformation, nn.Identity):
            self.limits = Limits()  # it is no cosine any more

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` scores."""
        first, second = self.take(columns)
        scores = self.cos_score_transformation(torch.cosine_similarity(first, second))
        return self.loss_fct(scores, self.row_labels(labels, first).to(scores.dtype))


class SiameseDistanceMetric:
    """Distances of `(b, d)` to `(b, d)`, row by row, for the contrastive losses."""

    @staticmethod
    def EUCLIDEAN(x: Tensor, y: Tensor) -> Tensor:
        """Euclidean distance."""
        return F.pairwise_distance(x, y, p=2)

    @staticmethod
    def MANHATTAN(x: Tensor, y: Tensor) -> Tensor:
        """Sum of absolute differences."""
        return F.pairwise_distance(x, y, p=1)

    @staticmethod
    def COSINE_DISTANCE(x: Tensor, y: Tensor) -> Tensor:
        """1 - cosine, in [0, 2]."""
        return 1 - F.cosine_similarity(x, y)


class ContrastiveLoss(Loss):
    """Matching pairs are pulled together, others pushed apart up to a margin.

        loss = mean_i 1/2 [ y_i d_i² + (1 - y_i) relu(margin - d_i)² ],  d_i = dist(u_i, v_i)

    Inputs: sentence_1, sentence_2. Labels: 1 for a matching pair, 0 for others.

    Args:
        distance_metric: Maps `(b, d)` and `(b, d)` to `(b,)` distances.
        margin: Distance, in its own unit, beyond which a pair that does not match is left alone.
        size_average: Whether the mean over the batch is taken; else the sum.

    Source:
        Hadsell et al. 2006, equation 4,
        http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf (there 1 and 0 swapped).
    """

    inputs = "2 columns (sentence_1, sentence_2)"
    forms = (PAIR_AND_MATCH,)
    limits = Limits(scores=(0.0, 1.0))
    option_names = ("distance_metric", "margin", "size_average")

    def __init__(
        self,
        model: EmbeddingModel,
        distance_metric: Compare = SiameseDistanceMetric.COSINE_DISTANCE,
        margin: float = 0.5,
        size_average: bool = True,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.distance_metric = a_function("distance_metric", distance_metric)
        self.margin = margin
        self.size_average = size_average
        self._has_checked_labels = False

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` labels."""
        first, second = self.take(columns)
        match = self.row_labels(labels, first).to(first.dtype)
        if not self._has_checked_labels:
            _warn_unless_binary(match, "use them as weights of the two terms, which this loss does")
            self._has_checked_labels = True
        distance = self.distance_metric(first, second)
        apart = (self.margin - distance).relu()
        losses = 0.5 * (match * distance.pow(2) + (1 - match) * apart.pow(2))
        return losses.mean() if self.size_average else losses.sum()


def _warn_unless_binary(labels: Tensor, otherwise: str) -> None:
    """Warn of labels other than 0 and 1; called once per loss, as it waits for the device."""
    other = labels[(labels != 0) & (labels != 1)]
    if len(other):
        warn(f"labels should be 0 or 1, got for example {other[0].item()}; {otherwise}")


class OnlineContrastiveLoss(Loss):
    """As `ContrastiveLoss`, over the hard pairs of the batch only, and summed.

    Hard are matching pairs further apart than the closest pair that does not match, and pairs that
    do not match closer than the furthest matching pair. If the batch has only one kind, its mean
    distance is the bound.

        loss = sum_{hard, y_i = 1} d_i² + sum_{hard, y_i = 0} relu(margin - d_i)²

    Source:
        The online mining of Schroff et al. 2015, section 3.2, https://arxiv.org/abs/1503.03832,
        for pairs; there is no paper for this form.
    """

    inputs = "2 columns (sentence_1, sentence_2)"
    forms = (PAIR_AND_MATCH,)
    reads_ragged = True
    option_names = ("distance_metric", "margin")

    def __init__(
        self,
        model: EmbeddingModel,
        distance_metric: Compare = SiameseDistanceMetric.COSINE_DISTANCE,
        margin: float = 0.5,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.distance_metric = a_function("distance_metric", distance_metric)
        self.margin = margin
        self._has_checked_labels = False

    def forward(
        self,
        sentence_features: Iterable[Features],
        labels: Tensor | None = None,
        size_average: bool = False,
    ) -> LossValue:
        """As `Loss`; the loss is a sum, also with `size_average`, which there is a warning of."""
        if size_average:
            warn("OnlineContrastiveLoss is a sum over hard pairs: size_average changes nothing")
        return super().forward(sentence_features, labels)

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` labels."""
        first, second = self.take(columns)
        match = self.row_labels(labels, first)
        if not self._has_checked_labels:
            _warn_unless_binary(match, "rows with another label are left out by this loss")
            self._has_checked_labels = True
        distance = self.distance_metric(first, second)
        near, far = distance[match == 1], distance[match == 0]
        hard_near = near[near > (far.min() if len(far) else near.mean())]
        hard_far = far[far < (near.max() if len(near) else far.mean())]
        return hard_near.pow(2).sum() + (self.margin - hard_far).relu().pow(2).sum()
