"""In-batch negatives, filtered by a guide, or only the hardest one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.checks import one_of
from sentune.data.forms import NEGATIVES, PAIR, TRIPLET
from sentune.errors import InputError, SettingError
from sentune.losses.base import Loss, full_precision, inherited
from sentune.losses.cached import CachedLossMixin, backward
from sentune.losses.embed import Embedder, as_ragged, by_rows, embed, number_of_rows, select
from sentune.losses.guide import guide_embeddings, needs_own_tokens
from sentune.machine.distributed import gather_rows
from sentune.types import EmbeddingModel, Features
from sentune.vectors.similarity import cos_sim, dot_score

# Scores of all pairs of `(m, d)` and `(n, d)`.
_Scores: TypeAlias = Callable[[Tensor, Tensor], Tensor]
# A matrix product rounds a similarity by its place in the matrix: scores of the guide that
# differ by less than this are the same score.
_TIE = 1e-6


class GISTEmbedLoss(Loss):
    """InfoNCE without the negatives that a guide model takes for positives.

    With cosines s of the model and g of the guide, T the temperature, and C(i) the candidates of
    row i - all positives p_j, other anchors a_j, other positives of p_i, all explicit negatives -
    less those that the guide scores above the row's own pair, g(., .) > g(a_i, p_i) - margin:

        loss = mean_i [ logsumexp_{c in C(i)} s_c / T - s(a_i, p_i) / T ]

    Inputs: anchor, positive[, negative_1, ... _k]. Labels: none.

    Args:
        guide: A trained model, which is not changed. Texts are tokenised again for it where its
            tokens differ from the model's, so both need a tokenizer, or none.
        temperature: T, > 0.
        margin_strategy: "absolute": the margin is a cosine. "relative": a share of g(a_i, p_i).
        margin: How far below the row's own pair a candidate is already left out.
        contrast_anchors: Whether other anchors are candidates.
        contrast_positives: Whether the positive has to differ from other positives.
        gather_across_devices: Whether the texts of all processes are candidates, anchors too.
        mini_batch_size: As in `Loss`, and rows of the score matrix kept at a time.

    Source:
        Solatorio 2024, equations 1 to 5, https://arxiv.org/abs/2402.16829. Margins: NV-Retriever,
        section 4, https://arxiv.org/abs/2407.15831.
    """

    inputs = "2 or more columns (anchor, positive, negative_1, ...)"
    forms = (PAIR, TRIPLET, NEGATIVES)
    has_batch_negatives = True
    option_names = (
        "guide",
        "temperature",
        "margin_strategy",
        "margin",
        "contrast_anchors",
        "contrast_positives",
        "gather_across_devices",
    )

    def __init__(
        self,
        model: EmbeddingModel,
        guide: Any,
        temperature: float = 0.01,
        margin_strategy: Literal["absolute", "relative"] = "absolute",
        margin: float = 0.0,
        contrast_anchors: bool = True,
        contrast_positives: bool = True,
        gather_across_devices: bool = False,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        if not temperature > 0:
            raise SettingError(f"temperature must be > 0, got {temperature}")
        needs_own_tokens(guide, model)  # raises if that is unknown
        # In a tuple, so that the guide is no part of this module: not trained, saved or put in
        # training mode with it.
        self._guide = (guide,)
        self.temperature = temperature
        self.margin_strategy = one_of("margin_strategy", margin_strategy, ("absolute", "relative"))
        self.margin = margin
        self.contrast_anchors = contrast_anchors
        self.contrast_positives = contrast_positives
        self.gather_across_devices = gather_across_devices
        self.similarity_fct: Any = nn.CosineSimilarity(dim=-1)  # (m, 1, d), (1, n, d) -> (m, n)
        self.cross_entropy_loss = nn.CrossEntropyLoss()

    @property
    def must_retokenize(self) -> bool:
        """Whether texts are tokenised again for the guide."""
        return needs_own_tokens(self.guide, self.model)

    @property
    def guide(self) -> Any:
        """The guide model."""
        return self._guide[0]

    def context(self, features: Sequence[Features]) -> dict[str, Any]:
        """The guide's embeddings of the columns."""
        embedded = guide_embeddings(self.guide, self.model, features, self.embedder())
        return {"guide": embedded}

    def compute(
        self,
        columns: Sequence[Tensor],
        labels: Tensor | None = None,
        guide: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """The loss of `(b, d)` columns with the guide's `(b, d')` columns of the same texts."""
        model_rows = self.take(columns)
        if guide is None or [len(rows) for rows in guide] != [len(rows) for rows in model_rows]:
            raise InputError(f"{type(self).__name__} wants the guide's embedding of every text")
        b, device = len(model_rows[0]), model_rows[0].device
        guide_rows = [full_precision(rows.to(device)) for rows in guide]
        start = 0
        if self.gather_across_devices:
            model_rows, start = gather_rows(model_rows)
            guide_rows, _ = gather_rows(guide_rows)
        similarity: _Scores = self.sim_matrix
        if self._scores_are_cosines():  # normalised once, not again for each mini-batch
            similarity = dot_score
            model_rows, guide_rows = (
                [F.normalize(rows, dim=-1) for rows in parts] for parts in (model_rows, guide_rows)
            )
        rows = torch.arange(start, start + b, device=device)
        score = partial(self._row_losses, model=model_rows, guide=guide_rows, similarity=similarity)
        return by_rows(score, rows, self.mini_batch_size).mean()

    def _row_losses(
        self, rows: Tensor, model: list[Tensor], guide: list[Tensor], similarity: _Scores
    ) -> Tensor:
        """Loss of each of the rows `(c,)`, numbered among those of all processes."""
        own = rows[:, None]
        guide_scores = self._scores(rows, guide, similarity)
        threshold = self._threshold(guide_scores[0].gather(1, own))
        model_scores = self._scores(rows, model, similarity)
        partner = model_scores[0].gather(1, own) / self.temperature
        parts = [
            scores.masked_fill(seen > threshold + _TIE, -torch.inf)
            for scores, seen in zip(model_scores, guide_scores, strict=True)
        ]
        logits = torch.cat(parts, dim=1) / self.temperature
        # The pair itself is a candidate whatever the margin.
        logits = logits.scatter(1, own, partner)
        return self.cross_entropy_loss(logits, rows).expand(len(rows))  # the mean, for each row

    def sim_matrix(self, embed1: Tensor, embed2: Tensor) -> Tensor:
        """Scores of all pairs of `(m, d)` and `(n, d)`, `(m, n)`."""
        if isinstance(self.similarity_fct, nn.CosineSimilarity):
            return cos_sim(embed1, embed2)
        return self.similarity_fct(embed1[:, None], embed2[None])

    def _scores_are_cosines(self) -> bool:
        """Whether neither `similarity_fct` nor `sim_matrix` was replaced."""
        method = getattr(self.sim_matrix, "__func__", None)
        is_own = method is GISTEmbedLoss.sim_matrix
        return is_own and isinstance(self.similarity_fct, nn.CosineSimilarity)

    def _scores(self, rows: Tensor, columns: list[Tensor], similarity: _Scores) -> list[Tensor]:
        """Scores of the rows with their candidates, `(c, N)` each, the positives first."""
        anchors, positives, *negatives = columns
        some = anchors[rows]
        scores = [similarity(some, positives)]
        if self.contrast_anchors:
            scores.append(similarity(some, anchors))
        if self.contrast_positives:
            scores.append(similarity(positives[rows], positives))
        return scores + [similarity(some, negative) for negative in negatives]

    def _threshold(self, pair: Tensor) -> Tensor:
        """The guide's score above which a candidate is left out, `(c, 1)`."""
        return pair - self.margin * (pair.abs() if self.margin_strategy == "relative" else 1)


class CachedGISTEmbedLoss(CachedLossMixin, GISTEmbedLoss):
    """`GISTEmbedLoss` with `mini_batch_size` set: large batches, little memory.

    Arguments as there; for the mini-batches also those of `Loss.set_mini_batches`.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        guide: Any,
        temperature: float = 0.01,
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        show_progress_bar: bool = False,
        margin_strategy: Literal["absolute", "relative"] = "absolute",
        margin: float = 0.0,
        contrast_anchors: bool = True,
        contrast_positives: bool = True,
        gather_across_devices: bool = False,
    ) -> None:
        options = (guide, temperature, margin_strategy, margin, contrast_anchors)
        others = (contrast_positives, gather_across_devices)
        super().__init__(model, *options, *others, mini_batch_size=mini_batch_size)
        self.set_mini_batches(mini_batch_num_tokens, show_progress_bar)

    def calculate_loss(
        self,
        reps: Sequence[Sequence[Tensor]],
        reps_guided: Any = None,
        *,
        with_backward: bool = False,
    ) -> Any:
        """As `CachedLossMixin`, with the guide's embeddings of each mini-batch."""
        columns, guide = ([torch.cat([*x]) for x in parts] for parts in (reps, reps_guided))
        value = inherited(self, "calculate_loss")(columns, guide=guide)
        return backward(value) if with_backward else value

    def calculate_loss_and_cache_gradients(
        self, reps: Sequence[Sequence[Tensor]], reps_guided: Sequence[Sequence[Tensor]]
    ) -> tuple[Tensor, list[list[Tensor | None]]]:
        """The loss of mini-batches, and its gradient with respect to each of them."""
        loss = self.calculate_loss(reps, reps_guided, with_backward=True)
        gradients = [[rows.grad for rows in parts] for parts in reps]
        return loss.requires_grad_(), gradients

    def embed_minibatch(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """As `CachedLossMixin`; the guide's embeddings are second, unless there is a gradient."""
        rows, state = super().embed_minibatch(*args, **kwargs)
        given = inspect.signature(super().embed_minibatch).bind(*args, **kwargs).arguments
        if given["with_grad"]:
            return rows, None, state
        features = as_ragged(given["sentence_feature"])
        part = select(features, range(given["begin"], min(given["end"], number_of_rows(features))))
        guided = guide_embeddings(self.guide, self.model, [part], Embedder())
        return rows, guided[0], state


class MegaBatchMarginLoss(CachedLossMixin, Loss):
    """Each anchor close to its positive, and not close to the hardest other positive of the batch.

        loss = mean_i [ relu(m_pos - cos(a_i, p_i)) + relu(max_{j != i} cos(a_i, p_j) - m_neg) ]

    The larger the batch, the harder the negative: best with hundreds of rows.

    Inputs: anchor, positive. Labels: none.

    Args:
        positive_margin: m_pos, a cosine.
        negative_margin: m_neg, a cosine.
        use_mini_batched_version: Whether there are mini-batches: of `mini_batch_size` rows, also of
            the score matrix, and as `Loss.set_mini_batches` says.

    Source: Wieting and Gimpel 2018, section 4, https://www.aclweb.org/anthology/P18-1042.pdf.
    """

    inputs = "2 columns (anchor, positive)"
    forms = (PAIR,)
    option_names = ("positive_margin", "negative_margin")

    def __init__(
        self,
        model: EmbeddingModel,
        positive_margin: float = 0.8,
        negative_margin: float = 0.3,
        use_mini_batched_version: bool = True,
        mini_batch_size: int = 50,
        mini_batch_num_tokens: int | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        super().__init__(
            model, mini_batch_size=mini_batch_size if use_mini_batched_version else None
        )
        if use_mini_batched_version:
            self.set_mini_batches(mini_batch_num_tokens, show_progress_bar)
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.uses_gradient_cache = use_mini_batched_version

    def forward_mini_batched(
        self, sentence_features: Iterable[Features], labels: Tensor | None = None
    ) -> Any:
        """As `forward`, with mini-batches."""
        return self.forward_cached(sentence_features, labels)

    def forward_non_mini_batched(
        self, sentence_features: Iterable[Features], labels: Tensor | None = None
    ) -> Any:
        """As `forward`, with the whole batch at once."""
        return self.compute(embed(self.model, list(sentence_features)), labels)

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of `(b, d)` anchors and positives."""
        anchors, positives = (F.normalize(column, dim=-1) for column in self.take(columns))

        def row_losses(rows: Tensor) -> Tensor:
            scores = anchors[rows] @ positives.T  # (c, b)
            own = scores.gather(1, rows[:, None]).squeeze(1)
            others = scores.scatter(1, rows[:, None], -torch.inf)
            hardest = others.amax(dim=1)
            return (self.positive_margin - own).relu() + (hardest - self.negative_margin).relu()

        rows = torch.arange(len(anchors), device=anchors.device)
        return by_rows(row_losses, rows, self.mini_batch_size).mean()
