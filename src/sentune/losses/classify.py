"""Pairs of texts and the class of their relation, named by a classifier on the embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sentune.data.forms import PAIR_AND_CLASS, Limits
from sentune.errors import SettingError
from sentune.losses.base import Loss, embedding_width
from sentune.types import EmbeddingModel, Features


class SoftmaxLoss(Loss):
    """A linear classifier on top of the two embeddings has to name their relation.

        loss = cross_entropy( W [u_i; v_i; |u_i - v_i|] + c, class_i )

    The classifier is part of the loss: it is trained with the model and not saved with it.
    Called without labels, the loss gives the embeddings and the logits `(b, num_labels)`.

    Inputs: sentence_1, sentence_2. Labels: class number, 0 ... num_labels - 1.

    Args:
        embedding_dimension: d, width of the model's embeddings; None to ask the model.
        num_labels: Number of classes.
        concatenation_sent_rep: Whether the classifier reads u and v.
        concatenation_sent_difference: Whether it reads |u - v|.
        concatenation_sent_multiplication: Whether it reads u · v, number by number.
        loss_fct: Maps logits and classes to a scalar; cross entropy by default.
        sentence_embedding_dimension: Older name of `embedding_dimension`.

    Source: Reimers and Gurevych 2019, section 3, https://arxiv.org/abs/1908.10084.
    """

    inputs = "2 columns (sentence_1, sentence_2)"
    forms = (PAIR_AND_CLASS,)
    reads_ragged = True
    option_names = (
        "num_labels",
        "concatenation_sent_rep",
        "concatenation_sent_difference",
        "concatenation_sent_multiplication",
    )

    def __init__(
        self,
        model: EmbeddingModel,
        embedding_dimension: int | None = None,
        num_labels: int | None = None,
        concatenation_sent_rep: bool = True,
        concatenation_sent_difference: bool = True,
        concatenation_sent_multiplication: bool = False,
        loss_fct: nn.Module | None = None,
        *,
        sentence_embedding_dimension: int | None = None,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.concatenation_sent_rep = concatenation_sent_rep
        self.concatenation_sent_difference = concatenation_sent_difference
        self.concatenation_sent_multiplication = concatenation_sent_multiplication
        vectors = 2 * concatenation_sent_rep
        vectors += concatenation_sent_difference + concatenation_sent_multiplication
        if not vectors:
            raise SettingError(
                "the classifier sees nothing; set one of concatenation_sent_rep, "
                "concatenation_sent_difference, concatenation_sent_multiplication"
            )
        d = embedding_dimension or sentence_embedding_dimension or embedding_width(model)
        if not num_labels or not d:
            raise SettingError(
                f"SoftmaxLoss needs num_labels and embedding_dimension, got {num_labels} and {d}"
            )
        self.num_labels, self.head_width = num_labels, d
        self.classifier = nn.Linear(vectors * d, num_labels, device=getattr(model, "device", None))
        self.loss_fct = loss_fct or nn.CrossEntropyLoss()
        if isinstance(self.loss_fct, nn.CrossEntropyLoss) and self.loss_fct.ignore_index < -1:
            self.limits = Limits(classes=num_labels)  # else a class may be there to be passed over

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None = None) -> Any:
        """The loss of a batch; without labels its embeddings and logits."""
        if labels is not None:
            return super().forward(sentence_features, labels)
        columns = self.embed(list(sentence_features))
        return columns, self.logits(columns)

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` class numbers."""
        logits = self.logits(columns)
        if labels is None or self.num_labels == 1 or labels.shape != logits.shape:
            labels = self.row_labels(labels, logits)  # else one target per class, for the loss_fct
        return self.loss_fct(logits, labels.to(logits.device))

    def logits(self, columns: Sequence[Tensor]) -> Tensor:
        """What the classifier says of each row, `(b, num_labels)`."""
        first, second = self.take(columns)
        seen = [first, second] if self.concatenation_sent_rep else []
        if self.concatenation_sent_difference:
            seen.append((first - second).abs())
        if self.concatenation_sent_multiplication:
            seen.append(first * second)
        return self.classifier(torch.cat(seen, dim=1).to(self.classifier.weight.dtype))
