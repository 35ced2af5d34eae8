"""Learning a teacher's scores: by how much a document leads, or how likely each one is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sentune.checks import a_function
from sentune.data.forms import TEACHER_MARGINS, TEACHER_SCORES
from sentune.errors import InputError, SettingError, warn
from sentune.losses.base import Compare, Loss
from sentune.types import EmbeddingModel
from sentune.vectors.similarity import pairwise_dot_score


class MarginMSELoss(Loss):
    """The positive has to lead each negative by the margin by which the teacher saw it lead.

        loss = mean_{i, k} ( [s(q_i, p_i) - s(q_i, n_ik)] - margin_ik )²

    Inputs: query, positive, negative_1[, ... _k]. Labels: margins `(b, k)`, also `(b,)` for k = 1,
        or the scores of the positive and the negatives, `(b, k + 1)`.

    Args:
        similarity_fct: Maps `(b, d)` and `(b, d)` to `(b,)` scores, on the teacher's scale.

    Source: Hofstätter et al. 2020, equation 2, https://arxiv.org/abs/2010.02666.
    """

    inputs = "3 or more columns (query, positive, negative_1, ...)"
    forms = (TEACHER_SCORES, TEACHER_MARGINS)
    option_names = ("similarity_fct",)

    def __init__(
        self,
        model: EmbeddingModel,
        similarity_fct: Compare = pairwise_dot_score,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.similarity_fct = a_function("similarity_fct", similarity_fct)
        self.loss_fct = nn.MSELoss()

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of queries, positives and k columns of negatives with the teacher's margins."""
        query, *candidates = self.take(columns)
        scores = _scores(self.similarity_fct, query, candidates)
        margins = scores[:, :1] - scores[:, 1:]  # (b, k)
        return self.loss_fct(margins, self._teacher(labels, margins))

    def _teacher(self, labels: Tensor | None, margins: Tensor) -> Tensor:
        b, k = margins.shape
        shape = None if labels is None else tuple(labels.shape)
        if labels is not None and shape == (b, k + 1):
            labels = labels[:, :1] - labels[:, 1:]
        elif labels is None or (shape != (b, k) and not (k == 1 and shape == (b,))):
            raise InputError(
                f"MarginMSELoss wants the teacher's margins {(b, k)}, positive less negative, or "
                f"its scores {(b, k + 1)}, the positive's first; got "
                f"{'none' if shape is None else f'labels of shape {shape}'}"
            )
        return labels.detach().reshape(b, k).to(margins)


class DistillKLDivLoss(Loss):
    """The model has to rank the candidates of a query with the teacher's probabilities.

    With p = softmax(teacher scores / T_t) and q = softmax(model scores / T_s) over candidates:

        loss = T_s² · mean_i KL(p_i || q_i)

    Inputs: query, positive, negative_1, ... _k. Labels: teacher scores `(b, k + 1)`, as the
        columns.

    Args:
        similarity_fct: Maps `(b, d)` and `(b, d)` to `(b,)` scores.
        temperature: T_s and T_t where they are not given; all > 0.
        student_temperature, teacher_temperature: T_s and T_t.

    Source:
        Hinton et al. 2015, section 2, https://arxiv.org/abs/1503.02531; for retrieval Lin et al.
        2020, equation 4, https://arxiv.org/abs/2010.11386.
    """

    inputs = "3 or more columns (query, positive, negative_1, ...)"
    forms = (TEACHER_SCORES,)
    option_names = ("similarity_fct", "temperature", "student_temperature", "teacher_temperature")

    def __init__(
        self,
        model: EmbeddingModel,
        similarity_fct: Compare = pairwise_dot_score,
        temperature: float = 1.0,
        student_temperature: float | None = None,
        teacher_temperature: float | None = None,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.similarity_fct = a_function("similarity_fct", similarity_fct)
        self.temperature = temperature
        both = student_temperature, teacher_temperature
        own = (temperature if value is None else value for value in both)
        self.student_temperature, self.teacher_temperature = own
        for value in (temperature, self.student_temperature, self.teacher_temperature):
            if not 0 < value < math.inf:
                raise SettingError(f"a temperature must be a positive number, got {value}")
        self.loss_fct = nn.KLDivLoss(reduction="batchmean")
        self._has_checked_teacher = False

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of queries and N columns of candidates with the teacher's scores `(b, N)`."""
        query, *candidates = self.take(columns)
        scores = _scores(self.similarity_fct, query, candidates)
        if labels is None or labels.shape != scores.shape:
            raise InputError(
                f"DistillKLDivLoss wants one teacher score per candidate, {tuple(scores.shape)}; "
                f"got {'none' if labels is None else f'labels of shape {tuple(labels.shape)}'}"
            )
        teacher = labels.detach().to(scores)
        wanted = (teacher / self.teacher_temperature).softmax(dim=1)
        if not self._has_checked_teacher:
            self._check_teacher(teacher, wanted)
            self._has_checked_teacher = True
        found = (scores / self.student_temperature).log_softmax(dim=1)
        return self.loss_fct(found, wanted) * self.student_temperature**2

    def _check_teacher(self, scores: Tensor, probabilities: Tensor) -> None:
        """Look once for scores that cannot teach; once, as it waits for the device."""
        if scores.isnan().any():
            raise InputError("the teacher's scores contain NaN, and so would every weight")
        zeros = int((probabilities == 0).sum())
        # An infinite score leaves a candidate out on purpose.
        if zeros and not scores.isinf().any():
            spread = float((scores.amax(dim=1) - scores.amin(dim=1)).max())
            warn(
                f"{zeros} of {scores.numel()} teacher probabilities are 0: the scores of a row are "
                f"up to {spread:.1f} apart at teacher_temperature={self.teacher_temperature}; "
                f"raise it above {spread / 100:.3g}, or scale the scores down"
            )


def _scores(similarity: Compare, query: Tensor, candidates: Sequence[Tensor]) -> Tensor:
    """Scores of the query and each of its candidates, `(b, N)`."""
    return torch.stack([similarity(query, candidate) for candidate in candidates], dim=1)
