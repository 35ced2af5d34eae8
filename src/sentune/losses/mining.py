"""Single texts with a class: triplets mined among the rows of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sentune.checks import a_function
from sentune.data.forms import TEXT_AND_CLASS
from sentune.losses.base import Loss, full_precision
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import cos_sim

AllDistances = Callable[[Tensor], Tensor]


class BatchHardTripletLossDistanceFunction:
    """Distances of all rows of `(b, d)` to each other, `(b, b)`, for the losses of this file."""

    @staticmethod
    def cosine_distance(embeddings: Tensor) -> Tensor:
        """1 - cosine, in [0, 2]."""
        return 1 - cos_sim(embeddings, embeddings)

    @staticmethod
    def euclidean_distance(embeddings: Tensor, squared: bool = False) -> Tensor:
        """Euclidean distance or its square, exactly 0 between equal rows."""
        rows = full_precision(embeddings)
        # Not by |x|² - 2xy + |y|²: near rows would lose their distance to rounding.
        distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        return distance.square() if squared else distance

    eucledian_distance = euclidean_distance


class _Mined(Loss):
    """What the losses of this file share: they score the distances of a batch with its classes."""

    inputs = "1 column (sentence)"
    forms = (TEXT_AND_CLASS,)
    has_batch_classes = True
    option_names: ClassVar[tuple[str, ...]] = ("distance_metric", "margin")

    def __init__(
        self,
        model: EmbeddingModel,
        distance_metric: AllDistances = BatchHardTripletLossDistanceFunction.euclidean_distance,
        margin: float = 5,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.distance_metric = a_function("distance_metric", distance_metric)
        self.margin = margin

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of `(b, d)` with `(b,)` class numbers."""
        return self._value(columns, labels, type(self)._score)

    def _value(self, columns: Sequence[Tensor], labels: Tensor | None, score: Any) -> Tensor:
        (rows,) = self.take(columns)
        distance = self.distance_metric(rows)
        return score(self, distance, *_partners(self.row_labels(labels, rows)))

    def _score(self, distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of distances and the masks of positives and negatives, `(b, b)` each."""
        raise NotImplementedError

    # Other names, by which subclasses elsewhere know the same things.

    @property
    def sentence_embedder(self) -> EmbeddingModel:
        """The model."""
        return self.model

    @property
    def triplet_margin(self) -> float:
        """The margin."""
        return self.margin

    @triplet_margin.setter
    def triplet_margin(self, margin: float) -> None:
        self.margin = margin


def _computed_by(name: str) -> dict[str, Any]:
    """The table of `Loss.other_names` with a method that has the labels first."""

    def compute(
        loss: Any, columns: Sequence[Tensor], labels: Tensor | None = None, **context: Any
    ) -> Tensor:
        return getattr(loss, name)(labels, *columns)

    return {**Loss.other_names, name: compute}


class BatchAllTripletLoss(_Mined):
    """Every triplet of the batch: all positives of an anchor against all its negatives.

        loss = mean of the l_apn > 0,  l_apn = relu( d(a, p) - d(a, n) + margin )

    for all a, p of the same class (a ≠ p) and n of another one.

    Inputs: sentence. Labels: class number; several rows of each class.

    Args:
        distance_metric: Maps `(b, d)` to `(b, b)` distances.
        margin: In units of the distance.

    Source: Hermans et al. 2017, section 2, "batch all", https://arxiv.org/abs/1703.07737.
    """

    other_names = _computed_by("batch_all_triplet_loss")

    def _score(self, distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        anchors, partners = positive.nonzero(as_tuple=True)  # (P,) pairs of one class
        closer = distance[anchors, partners][:, None] - distance[anchors]  # (P, b)
        losses = (closer + self.margin).relu() * negative[anchors]
        return losses.sum() / (losses > 1e-16).sum().clamp(min=1)

    def batch_all_triplet_loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """As `compute`, of one `(b, d)`; a subclass may override it."""
        return self._value([embeddings], labels, BatchAllTripletLoss._score)


class BatchHardTripletLoss(_Mined):
    """For each anchor the furthest text of its class against the closest of another class.

        loss = mean_a relu( max_p d(a, p) - min_n d(a, n) + margin )

    Inputs, labels and arguments as in `BatchAllTripletLoss`.

    Source:
        Hermans et al. 2017, equation 5, https://arxiv.org/abs/1703.07737. An anchor alone in its
        class counts as its own positive; one without negatives has the furthest row for one.
    """

    other_names = _computed_by("batch_hard_triplet_loss")

    def _score(self, distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return (_hardest(distance, positive, negative) + self.margin).relu().mean()

    def batch_hard_triplet_loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """As `compute`, of one `(b, d)`; a subclass may override it."""
        return self._value([embeddings], labels, BatchHardTripletLoss._score)

    @staticmethod
    def get_triplet_mask(labels: Tensor) -> Tensor:
        """Whether p is another row of a's class and n of another class, `(b, b, b)`."""
        positive, negative = _partners(labels)
        return positive[:, :, None] & negative[:, None]

    @staticmethod
    def get_anchor_positive_triplet_mask(labels: Tensor) -> Tensor:
        """Whether p is another row of a's class, `(b, b)`."""
        return _partners(labels)[0]

    @staticmethod
    def get_anchor_negative_triplet_mask(labels: Tensor) -> Tensor:
        """Whether n is of another class than a, `(b, b)`."""
        return _partners(labels)[1]


class BatchHardSoftMarginTripletLoss(BatchHardTripletLoss):
    """As `BatchHardTripletLoss`, with a soft margin: there is nothing to tune.

        loss = mean_a log( 1 + exp( max_p d(a, p) - min_n d(a, n) ) )

    Source: Hermans et al. 2017, section 2, "soft margin", https://arxiv.org/abs/1703.07737.
    """

    other_names = _computed_by("batch_hard_triplet_soft_margin_loss")

    option_names = ("distance_metric",)

    def __init__(
        self,
        model: EmbeddingModel,
        distance_metric: AllDistances = BatchHardTripletLossDistanceFunction.euclidean_distance,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, distance_metric, mini_batch_size=mini_batch_size)

    def _score(self, distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return softplus(_hardest(distance, positive, negative)).mean()

    def batch_hard_triplet_soft_margin_loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """As `compute`, of one `(b, d)`; a subclass may override it."""
        return self._value([embeddings], labels, BatchHardSoftMarginTripletLoss._score)


class BatchSemiHardTripletLoss(_Mined):
    """For each pair of a class the closest negative that is further than the positive.

        loss = mean_{a, p} relu( d(a, p) - d(a, n_ap) + margin )

    with n_ap the closest negative strictly further from a than p is, or the furthest negative
    where none is. Inputs, labels and arguments as in `BatchAllTripletLoss`.

    Source: Schroff et al. 2015, FaceNet, section 3.2, https://arxiv.org/abs/1503.03832.
    """

    other_names = _computed_by("batch_semi_hard_triplet_loss")

    def _score(self, distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        closer = distance - _semi_hard(distance, negative)  # (b, b), of which the positives count
        losses = (closer + self.margin).relu() * positive
        return losses.sum() / positive.sum().clamp(min=1)

    def batch_semi_hard_triplet_loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """As `compute`, of one `(b, d)`; a subclass may override it."""
        return self._value([embeddings], labels, BatchSemiHardTripletLoss._score)


def _partners(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows are positives, and which negatives, of each row: two masks `(b, b)`."""
    is_same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return is_same & ~itself, ~is_same


def _hardest(distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Of each row, the furthest positive less the closest negative, `(b,)`."""
    furthest = distance.masked_fill(~positive, 0.0).amax(dim=1)
    closest = distance.masked_fill(~negative, torch.inf).amin(dim=1)
    return furthest - torch.where(negative.any(dim=1), closest, distance.amax(dim=1))


def _semi_hard(distance: Tensor, negative: Tensor) -> Tensor:
    """For row a and row p, the distance of a to its negative just beyond p, `(b, b)`."""
    far = distance.detach()
    # Negatives of each anchor from near to far; the rest of the row, at infinity, behind them.
    ascending, order = far.masked_fill(~negative, torch.inf).sort(dim=1, stable=True)
    count = negative.sum(dim=1, keepdim=True)
    place = torch.searchsorted(ascending, far, right=True)
    place = torch.minimum(place, (count - 1).clamp(min=0))  # none beyond: the furthest
    return torch.where(count > 0, distance.gather(1, order.gather(1, place)), 0.0)
