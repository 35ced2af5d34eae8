"""A term beside another loss that spreads embeddings over the sphere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from sentune.checks import a_function, one_of
from sentune.data.forms import ANY_TEXTS
from sentune.errors import SettingError
from sentune.losses.base import Compare, Loss
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import cos_sim


class GlobalOrthogonalRegularizationLoss(Loss):
    """Embeddings of different texts have to look like random directions.

    With s_ij the similarities of a column's rows i != j, and d the width:

        gor_mean          = (mean s_ij)²
        gor_second_moment = relu( mean s_ij² - 1/d )

    each aggregated over the columns and times its weight. Both parts are given by name, are
    summed for the gradient and logged one by one. To be used beside a loss that teaches something.

    Inputs: sentence_1, ..., _n. Labels: none.

    Args:
        similarity_fct: Maps `(m, d)` and `(n, d)` to `(m, n)` scores.
        mean_weight, second_moment_weight: Weights; None or 0 leaves a part out, but not both.
        aggregation: "mean" or "sum" over the columns.

    Source: Zhang et al. 2017, equations 5 to 7, https://arxiv.org/abs/1708.06320.
    """

    inputs = "1 or more columns of sentences"
    forms = (ANY_TEXTS,)
    option_names = ("similarity_fct", "mean_weight", "second_moment_weight", "aggregation")

    def __init__(
        self,
        model: EmbeddingModel,
        similarity_fct: Compare = cos_sim,
        mean_weight: float | None = 1.0,
        second_moment_weight: float | None = 1.0,
        aggregation: Literal["mean", "sum"] = "mean",
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        if not mean_weight and not second_moment_weight:
            raise SettingError("mean_weight and second_moment_weight are both 0; nothing is left")
        self.similarity_fct = a_function("similarity_fct", similarity_fct)
        self.mean_weight = mean_weight
        self.second_moment_weight = second_moment_weight
        self.aggregation = one_of("aggregation", aggregation, ("mean", "sum"))

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """Both parts for any number of `(b, d)`."""
        moments = torch.stack(
            [torch.stack(self.compute_gor(rows)) for rows in self.take(columns)]
        )  # (n, 2)
        total = moments.sum(dim=0) if self.aggregation == "sum" else moments.mean(dim=0)
        parts = {}
        if self.mean_weight:
            parts["gor_mean"] = self.mean_weight * total[0]
        if self.second_moment_weight:
            parts["gor_second_moment"] = self.second_moment_weight * total[1]
        return parts

    def compute_gor(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts for one `(b, d)`, without their weights."""
        b, d = embeddings.shape
        itself = torch.eye(b, dtype=torch.bool, device=embeddings.device)
        scores = self.similarity_fct(embeddings, embeddings).masked_fill(itself, 0.0)
        pairs = max(b * (b - 1), 1)
        second_moment = scores.pow(2).sum() / pairs
        return (scores.sum() / pairs).pow(2), (second_moment - 1 / d).relu()
