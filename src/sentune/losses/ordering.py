"""Pairs of texts whose similarities have to come in the order of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sentune.checks import a_function
from sentune.data.forms import NEGATIVES, PAIR_AND_SCORE, TRIPLET, Form
from sentune.errors import InputError
from sentune.losses.base import Compare, Loss
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import pairwise_angle_sim, pairwise_cos_sim


def order_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """`log(1 + sum over pairs of rows with labels_i > labels_j of exp(scores_j - scores_i))`.

    Of scores `(b,)` and labels `(b,)`, in `b log b`: with the rows in ascending order of their
    labels, the rows above row j are a suffix, so one running logsumexp from the end holds every
    inner sum. Only the order of the labels counts, and equal labels are not compared.
    """
    labels, order = (labels.long() if labels.dtype == torch.bool else labels).sort()
    scores = scores[order]
    suffixes = torch.logcumsumexp(-scores.flip(0), dim=0).flip(0)  # of the rows from i on
    suffixes = torch.cat([suffixes, scores.new_full((1,), -torch.inf)])
    first_above = torch.searchsorted(labels, labels, right=True)
    terms = scores + suffixes[first_above]  # (b,)
    return torch.cat([scores.new_zeros(1), terms]).logsumexp(dim=0)


class CoSENTLoss(Loss):
    """A pair with a higher label has to be more similar than a pair with a lower one.

    With `s` = `scale` · similarity, over the whole batch:

        loss = log( 1 + sum_{i, j: label_i > label_j} exp(s_j - s_i) )

    Inputs: sentence_1, sentence_2. Labels: float score; only its order counts.

    Args:
        scale: Inverse temperature; 20 suits cosines.
        similarity_fct: Maps `(b, d)` and `(b, d)` to `(b,)` scores.

    Source: Su 2022, https://kexue.fm/archives/8847.
    """

    inputs = "2 columns (sentence_1, sentence_2)"
    forms: tuple[Form, ...] = (PAIR_AND_SCORE,)
    option_names: ClassVar[tuple[str, ...]] = ("scale", "similarity_fct")

    def __init__(
        self,
        model: EmbeddingModel,
        scale: float = 20.0,
        similarity_fct: Compare = pairwise_cos_sim,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.scale = scale
        self.similarity_fct = a_function("similarity_fct", similarity_fct)

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` scores."""
        first, second = self.take(columns)
        scores = self.scale * self.similarity_fct(first, second)
        return order_loss(scores, self.row_labels(labels, first))


class AnglELoss(CoSENTLoss):
    """As `CoSENTLoss`, with the angle in complex space in place of the cosine.

    The cosine is flat where it is near 1 or -1; the angle is not.

    Inputs: as there; or anchor, positive, negative_1[, ... _k] without labels, which then are 1
        for positives and 0 for negatives.

    Args:
        scale: Inverse temperature.

    Source: Li and Li 2023, equations 5 to 9, https://arxiv.org/abs/2309.12871.
    """

    inputs = "2 columns (sentence_1, sentence_2), or more (anchor, positive, negative_1, ...)"
    forms = (PAIR_AND_SCORE, TRIPLET, NEGATIVES)
    option_names = ("scale",)

    def __init__(
        self, model: EmbeddingModel, scale: float = 20.0, *, mini_batch_size: int | None = None
    ) -> None:
        super().__init__(model, scale, pairwise_angle_sim, mini_batch_size=mini_batch_size)

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` scores, or of more columns without."""
        anchor, *others = self.take(columns)
        if labels is None:
            if len(others) == 1:
                raise InputError("AnglELoss wants a float score for each pair, got none")
            labels = torch.ones(len(anchor), device=anchor.device)
        positive = self.row_labels(labels, anchor) * 1  # booleans as numbers
        negative = (1 - positive).repeat(len(others) - 1)
        scores = self.similarity_fct(anchor.repeat(len(others), 1), torch.cat(others))
        return order_loss(self.scale * scores, torch.cat([positive, negative]))
