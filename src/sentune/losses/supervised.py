"""Single texts with a class: each text has to find those of its class among all of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sentune.checks import a_function
from sentune.data.forms import TEXT_AND_CLASS
from sentune.errors import SettingError
from sentune.losses.base import Loss
from sentune.losses.embed import by_rows
from sentune.machine.distributed import gather_rows, world_size
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import Similarity, cos_sim


class SupervisedContrastiveLoss(Loss):
    """InfoNCE with every other text of the class as a positive.

    With s the similarity, T the temperature, P(i) the other rows of the class of row i, and A(i)
    all other rows:

        loss = mean_i [ -1/|P(i)| sum_{p in P(i)} ( s_ip / T - logsumexp_{a in A(i)} s_ia / T ) ]

    over the rows i that have a positive. All scores are one matrix product, in which the classes
    are a mask; no pair or triplet is made.

    Inputs: sentence. Labels: class number; several rows of each class.

    Args:
        temperature: T, > 0. The lower it is, the more the closest rows count.
        similarity_fct: Scores of all pairs of `(m, d)` and `(n, d)`; cosine by default.
        gather_across_devices: Whether the rows of all processes are positives and negatives.
        mini_batch_size: As in `Loss`, and rows of the score matrix kept at a time.

    Source:
        Khosla et al. 2020, equation 2 ("out"), https://arxiv.org/abs/2004.11362. Rows that are
        alone in their class are negatives of others and have no loss of their own.
    """

    inputs = "1 column (sentence)"
    forms = (TEXT_AND_CLASS,)
    has_batch_classes = True
    option_names = ("temperature", "similarity_fct", "gather_across_devices")

    def __init__(
        self,
        model: EmbeddingModel,
        temperature: float = 0.1,
        similarity_fct: Similarity = cos_sim,
        gather_across_devices: bool = False,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        if not temperature > 0:
            raise SettingError(f"temperature must be > 0, got {temperature}")
        self.temperature = temperature
        self.similarity_fct = a_function("similarity_fct", similarity_fct)
        self.gather_across_devices = gather_across_devices

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of `(b, d)` with `(b,)` class numbers."""
        (rows,) = self.take(columns)
        classes = self.row_labels(labels, rows)
        own, first, processes = torch.arange(len(rows), device=rows.device), 0, 1
        if self.gather_across_devices:
            (rows,), first = gather_rows([rows])
            (classes,), _ = gather_rows([classes[:, None]])
            classes, processes = classes.squeeze(1), world_size()
        score = partial(self._row_losses, rows=rows, classes=classes)
        losses = by_rows(score, own + first, self.mini_batch_size)
        # Over all processes; the mean of theirs, which training takes, is then that of all rows.
        _, place, count = classes.unique(return_inverse=True, return_counts=True)
        with_positives = (count[place] > 1).sum().clamp(min=1)
        return losses.sum() * processes / with_positives

    def _row_losses(self, places: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
        """The loss of some rows `(c,)`, which are given by their place among all."""
        itself = places[:, None] == torch.arange(len(rows), device=rows.device)  # (c, n)
        positive = (classes[places][:, None] == classes) & ~itself
        logits = self.similarity_fct(rows[places], rows) / self.temperature
        surprise = logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True) - logits
        # No product with the mask: of a row that is alone the surprise is minus infinity.
        return surprise.masked_fill(~positive, 0).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
