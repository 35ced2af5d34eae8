"""A loss around another loss: the same objective at several widths."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sentune.errors import SettingError, warn
from sentune.losses.base import Loss, LossValue, embedding_width, full_precision
from sentune.types import EmbeddingModel


class MatryoshkaLoss(Loss):
    """The inner loss at several widths, so that embeddings may be truncated to fewer dimensions.

        loss = sum_d weight_d · inner( the first d numbers of each embedding, at length 1 )

    Inputs and labels are those of the inner loss; teacher embeddings of the full width are
    truncated as well. A head of the inner loss (a classifier, a projection) is shared by all
    widths: each reads the rows of its weights that belong to the dimensions kept.

    Args:
        model: That of the inner loss.
        loss: The inner loss.
        matryoshka_dims: Widths from 1 to the model's, in any order; the full one should be there.
        matryoshka_weights: A weight for each; None for 1.
        n_dims_per_step: How many of them, drawn at random, are used in a step; -1 for all.
        mini_batch_size: As in `Loss`; None for what the inner loss says.

    Source: Kusupati et al. 2022, equation 1, and "efficient" for heads,
        https://arxiv.org/abs/2205.13147.
    """

    option_names = ("loss", "matryoshka_dims", "matryoshka_weights", "n_dims_per_step")
    loss: Any

    def __init__(
        self,
        model: EmbeddingModel,
        loss: nn.Module,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        n_dims_per_step: int = -1,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, loss=loss, mini_batch_size=mini_batch_size)
        weights = [1] * len(matryoshka_dims) if matryoshka_weights is None else matryoshka_weights
        _check_widths(matryoshka_dims, weights, embedding_width(model))
        head_width = _head_width(self._inner)
        if head_width is not None and max(matryoshka_dims) > head_width:
            raise SettingError(
                f"The head of the inner loss was made for embeddings of {head_width} dimensions, "
                f"and matryoshka_dims={list(matryoshka_dims)} has more; make it for the full width"
            )
        by_width = sorted(zip(matryoshka_dims, weights, strict=True), key=lambda one: -one[0])
        self.matryoshka_dims = tuple(width for width, _ in by_width)
        self.matryoshka_weights = tuple(weight for _, weight in by_width)
        self.n_dims_per_step = n_dims_per_step

    def compute(
        self, columns: Sequence[Tensor], labels: Tensor | None = None, *args: Any, **context: Any
    ) -> LossValue:
        """The weighted sum of the inner loss over the widths."""
        parts = []
        for place in drawn(len(self.matryoshka_dims), self.n_dims_per_step):
            width, weight = self.matryoshka_dims[place], self.matryoshka_weights[place]
            cut = [_cut(column, width, _head_width(self._inner)) for column in columns]
            targets = self._targets(labels, columns[0].shape[-1], width)
            parts.append((weight, self._inner.compute(cut, targets, *args, **context)))
        return weighted_sum(parts)

    def _targets(self, labels: Tensor | None, full_width: int, width: int) -> Tensor | None:
        """Labels that are embeddings as wide as the model's, truncated too; others as they are."""
        if not isinstance(labels, Tensor) or _head_width(self._inner) is not None:
            return labels
        are_embeddings = not self.forms or any(form.wanted == "embedding" for form in self.forms)
        if are_embeddings and labels.ndim in (2, 3) and labels.shape[-1] == full_width:
            return labels[..., :width]
        return labels


def shrink(tensor: Tensor, dim: int) -> Tensor:
    """The first `dim` numbers of each row, `(..., dim)`, at length 1; SettingError if it has less.

    Args:
        tensor: Rows `(..., d)`.
        dim: Their new width.
    """
    if dim > tensor.shape[-1]:
        raise SettingError(
            f"matryoshka_dims has {dim}, the embeddings have only {tensor.shape[-1]} dimensions"
        )
    return F.normalize(tensor[..., :dim], dim=-1)


def weighted_sum(parts: Sequence[tuple[float, LossValue]]) -> LossValue:
    """The sum of weight · value; of losses with named parts, name by name."""
    total: dict[str, Tensor] = {}
    for weight, value in parts:
        named = value if isinstance(value, dict) else {"": value}
        for name, part in named.items():
            total[name] = total[name] + weight * part if name in total else weight * part
    return total[""] if "" in total else total


def drawn(count: int, wanted: int, *, in_order: bool = True) -> list[int]:
    """Numbers 0 ... count - 1; if fewer are wanted (from 1 on), so many of them at random."""
    if not 0 < wanted < count:
        return list(range(count))
    numbers = random.sample(range(count), wanted)
    return sorted(numbers) if in_order else numbers


def _head_width(loss: Loss) -> int | None:
    return loss.head_width if loss.loss is None else _head_width(loss._inner)


def _cut(column: Tensor, width: int, head_width: int | None) -> Tensor:
    """The first dimensions at length 1; with zeros for the others, where a head reads them all."""
    rows = shrink(full_precision(column), width)
    return rows if head_width is None else F.pad(rows, (0, head_width - width))


def _check_widths(widths: Sequence[int], weights: Sequence[float], full: int | None) -> None:
    if not widths or any(width < 1 or width > (full or width) for width in widths):
        raise SettingError(
            f"matryoshka_dims must be numbers from 1 to {full or 'the width of the model'}, "
            f"got {list(widths)}"
        )
    if len(weights) != len(widths):
        raise SettingError(f"{len(widths)} matryoshka_dims, but {len(weights)} matryoshka_weights")
    if full is not None and full not in widths:
        warn(
            f"the model's full width {full} is not among matryoshka_dims={list(widths)}: its "
            "embeddings would be trained only where they are cut. Add it unless you always cut"
        )
