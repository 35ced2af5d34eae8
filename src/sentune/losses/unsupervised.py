"""Learning from sentences alone: two copies of a model drift apart, and must agree again."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sentune.checks import a_function
from sentune.data.example import InputExample
from sentune.data.forms import SAME_TEXT_TWICE, TENSION_PAIR, TEXT
from sentune.errors import InputError, SettingError
from sentune.losses.base import Compare, Loss, describe, full_precision
from sentune.losses.embed import Embedder, as_ragged
from sentune.tables import rows_of
from sentune.text import layouts
from sentune.types import EmbeddingModel, Features
from sentune.vectors.similarity import cos_sim


class ContrastiveTensionLoss(Loss):
    """Two copies of the model have to agree on a sentence, and on nothing else.

    With u from the first copy, v from the second, y = 1 where both texts are the same:

        loss = sum_i binary_cross_entropy( sigmoid(u_i · v_i), y_i )

    The copy `model1` is trained along and thrown away; `model` is what is kept.

    Inputs: sentence_1, sentence_2. Labels: 1 for the same sentence twice, 0 otherwise; or none,
        and rows with the same tokens count as the same sentence.

    Source: Carlsson et al. 2021, equation 1, https://openreview.net/forum?id=Ov_sMNau-PF.
    """

    inputs = "2 columns (sentence_1, sentence_2)"
    forms = (TENSION_PAIR,)

    def __init__(self, model: EmbeddingModel, *, mini_batch_size: int | None = None) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.model1 = copy.deepcopy(model)
        self.criterion = nn.BCEWithLogitsLoss(reduction="sum")

    @property
    def model2(self) -> EmbeddingModel:
        """The second copy, which is the model itself."""
        return self.model

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """The first column through the first copy, the others through the second."""
        run = embedder or self.embedder()
        return [*run(self.model1, features[:1]), *run(self.model, features[1:])]

    def context(self, features: Sequence[Features]) -> dict[str, Any]:
        """The features themselves: without labels, their tokens show which rows match."""
        return {"features": features}

    def compute(
        self,
        columns: Sequence[Tensor],
        labels: Tensor | None = None,
        features: Sequence[Features] | None = None,
    ) -> Tensor:
        """The loss of two `(b, d)` with `(b,)` labels, or those that the tokens show."""
        first, second = self.take(columns)
        if labels is None and features is not None:
            labels = _is_same_text(*features)
        match = self.row_labels(labels, first)
        scores = (first * second).sum(dim=1)
        return self.criterion(scores, match.to(scores))


class ContrastiveTensionLossInBatchNegatives(Loss):
    """Two copies of the model have to find a sentence again among those of the batch.

    With s the similarities of the first copy's embeddings to the second's, times a scale that is
    learnt with the model:

        loss = 1/2 mean_i [ cross_entropy(s_i., i) + cross_entropy(s_.i, i) ]

    Inputs: sentence, or the same sentence twice. Labels: none.

    Args:
        scale: The first scale, > 0.
        similarity_fct: Maps `(m, d)` and `(n, d)` to `(m, n)` scores.

    Source:
        Carlsson et al. 2021, https://openreview.net/forum?id=Ov_sMNau-PF, with the contrast of
        CLIP, Radford et al. 2021, figure 3, https://arxiv.org/abs/2103.00020.
    """

    inputs = "1 column (sentence), or the same one twice"
    forms = (TEXT, SAME_TEXT_TWICE)

    def __init__(
        self,
        model: EmbeddingModel,
        scale: float = 20.0,
        similarity_fct: Compare = cos_sim,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        if not scale > 0:
            raise SettingError(f"scale must be > 0, got {scale}")
        self.model1 = copy.deepcopy(model)
        self.similarity_fct = a_function("similarity_fct", similarity_fct)
        self.cross_entropy_loss = nn.CrossEntropyLoss()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def model2(self) -> EmbeddingModel:
        """The second copy, which is the model itself."""
        return self.model

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """The column as each copy sees it: two `(b, d)`."""
        run = embedder or self.embedder()
        if len(features) == 2:
            is_same = _is_same_text(*features)
            features = features[:1] if is_same is not None and bool(is_same.all()) else features
        if len(features) != 1:
            raise InputError(f"{type(self).__name__} wants {self.inputs}, got {len(features)}")
        return [*run(self.model1, features), *run(self.model, features)]

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of what both copies make of the same texts, two `(b, d)`."""
        first, second = map(full_precision, columns)
        scores = self.similarity_fct(first, second) * self.logit_scale.exp()
        own = torch.arange(len(scores), device=scores.device)
        return (self.cross_entropy_loss(scores, own) + self.cross_entropy_loss(scores.T, own)) / 2

    def settings(self) -> dict[str, Any]:
        """The settings, with the scale as it is now."""
        scale = self.logit_scale.exp().item()
        own = {"scale": scale, "similarity_fct": describe(self.similarity_fct)}
        return {**own, **super().settings()}


class ContrastiveTensionDataLoader:
    """Batches of pairs from single sentences: some of a sentence with itself, the rest of two.

    Sentences are drawn in a new order in each epoch, by Python's `random`.

    Args:
        sentences: The sentences.
        batch_size: Pairs per batch, a multiple of the ratio.
        pos_neg_ratio: One pair in so many is of a sentence with itself.
    """

    def __init__(self, sentences: Sequence[str], batch_size: int, pos_neg_ratio: int = 8) -> None:
        if pos_neg_ratio < 1 or batch_size < 1 or batch_size % pos_neg_ratio:
            raise SettingError(
                f"batch_size={batch_size} must be a multiple of pos_neg_ratio={pos_neg_ratio}"
            )
        self.sentences = rows_of(sentences, "sentences")
        self.batch_size = batch_size
        self.pos_neg_ratio = pos_neg_ratio
        self.collate_fn: Callable[[list[InputExample]], Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        random.shuffle(self.sentences)
        sentences = iter(self.sentences)
        for _ in range(len(self)):
            batch = []
            for place in range(self.batch_size):
                first = next(sentences)
                is_same = place % self.pos_neg_ratio == 0
                second = first if is_same else next(sentences)
                batch.append(InputExample(texts=[first, second], label=int(is_same)))
            yield batch if self.collate_fn is None else self.collate_fn(batch)

    def __len__(self) -> int:
        per_batch = 2 * self.batch_size - self.batch_size // self.pos_neg_ratio
        return len(self.sentences) // per_batch


def _is_same_text(first: Features, second: Features) -> Tensor | None:
    """Whether row i of both columns has the same tokens, `(b,)`; None if there are no tokens."""
    columns = as_ragged(first), as_ragged(second)
    if not all(map(layouts.is_ragged, columns)):
        return None
    rows = [
        [ids.tolist() for ids in column["input_ids"].split(column["lengths"])] for column in columns
    ]
    return torch.tensor([one == other for one, other in zip(*rows, strict=True)])
