"""Learning a teacher's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.checks import one_of
from sentune.data.forms import TEACHER_EMBEDDING, Limits
from sentune.disk import files
from sentune.errors import InputError, SettingError
from sentune.losses.base import Loss, LossValue, embedding_width, full_precision
from sentune.types import EmbeddingModel


class EmbedDistillLoss(Loss):
    """The model's embedding of each text has to equal the teacher's.

        loss = mean over columns of  mean_i (1 - cos(u_i, t_i))   "cosine"
                                     mean_i |u_i - t_i|           "l2"
                                     mean_i mean_k (u_ik - t_ik)² "mse"

    Inputs: sentence_1, ..., _n. Labels: teacher embeddings `(b, d)`, the same for each column, or
        `(b, n, d)`, one for each column.

    Args:
        distance_metric: "cosine", "l2" or "mse".
        projection_dim: Width of the teacher's embeddings, if a linear map from the model's to
            them is to be learnt with the model; None where both have the same width.

    Source: "mse": Reimers and Gurevych 2020, equation 1, https://arxiv.org/abs/2004.09813.
    """

    inputs = "1 or more columns of sentences"
    forms = (TEACHER_EMBEDDING,)
    option_names: ClassVar[tuple[str, ...]] = ("distance_metric", "projection_dim")

    def __init__(
        self,
        model: EmbeddingModel,
        distance_metric: Literal["cosine", "l2", "mse"] = "cosine",
        projection_dim: int | None = None,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        self.distance_metric = one_of("distance_metric", distance_metric, ("cosine", "l2", "mse"))
        self.projection_dim = projection_dim
        self.projection: nn.Linear | None = None
        if projection_dim is not None:
            self.projection = self._linear(embedding_width(model), projection_dim)
        self.limits = Limits(width=projection_dim or embedding_width(model))

    def compute(self, columns: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """The loss of any number of `(b, d)` with `(b, d)` or `(b, n, d)` teacher embeddings."""
        rows = torch.stack([self._projected(column) for column in self.take(columns)], dim=1)
        teacher = self._teacher(labels, rows)  # (b, n, d), as rows
        if self.distance_metric == "mse":
            return F.mse_loss(rows, teacher)
        if self.distance_metric == "l2":
            return torch.linalg.vector_norm(rows - teacher, dim=-1).mean()
        return (1 - F.cosine_similarity(rows, teacher, dim=-1)).mean()

    def compute_loss_from_embeddings(  # type: ignore[override]
        self, embeddings: Sequence[Tensor], teacher_embeddings: Tensor | Sequence[Tensor]
    ) -> LossValue:
        """As `compute`; teacher embeddings also as a list of one `(b, d)` per column."""
        if not isinstance(teacher_embeddings, Tensor):
            teacher_embeddings = torch.stack([*teacher_embeddings], dim=1)
        return super().compute_loss_from_embeddings(embeddings, teacher_embeddings)

    def save_projection(self, path: str | Path) -> None:
        """Write the weights of the projection to a safetensors file, atomically."""
        if self.projection is None:
            raise SettingError("there is no projection to save; it comes with projection_dim=...")
        weights = {name: value.contiguous() for name, value in self.projection.state_dict().items()}
        with files.opened(Path(path), through_links=True) as file:
            file.write(as_bytes(weights, metadata={"format": "pt"}))

    def load_projection(self, path: str | Path) -> None:
        """Read the weights of the projection from a file that `save_projection` wrote."""
        state = load_file(str(path))
        out_width, in_width = state["weight"].shape
        wanted = (self.projection_dim or out_width, embedding_width(self.model) or in_width)
        if (out_width, in_width) != wanted:
            raise SettingError(
                f"{path} maps {in_width} numbers to {out_width}; this loss maps {wanted[1]} to "
                f"{wanted[0]}"
            )
        if self.projection is None:
            self.projection, self.projection_dim = self._linear(in_width, out_width), out_width
            self.limits = Limits(width=out_width)
        self.projection.load_state_dict(state)

    def _linear(self, in_width: int | None, out_width: int) -> nn.Linear:
        if in_width is None:
            raise SettingError("the model does not say the width of its embeddings")
        self.head_width = in_width
        return nn.Linear(in_width, out_width, device=getattr(self.model, "device", None))

    def _projected(self, rows: Tensor) -> Tensor:
        if self.projection is None:
            return rows
        return full_precision(self.projection(rows.to(self.projection.weight.dtype)))

    def _teacher(self, labels: Tensor | None, rows: Tensor) -> Tensor:
        """The teacher's embeddings in the shape of the model's, `(b, n, d)`."""
        b, n, d = rows.shape
        shape = None if labels is None else tuple(labels.shape)
        if labels is None or shape not in ((b, d), (b, n, d)):
            raise InputError(
                f"{type(self).__name__} wants teacher embeddings of shape {(b, d)} or {(b, n, d)} "
                f"as labels, got {'none' if shape is None else shape}; for a teacher of another "
                "width set projection_dim to it"
            )
        teacher = labels.detach().to(rows)
        return teacher if teacher.dim() == 3 else teacher[:, None].expand(b, n, d)


class MSELoss(EmbedDistillLoss):
    """`EmbedDistillLoss` with the mean squared error; arguments as there."""

    option_names = ("projection_dim",)

    def __init__(
        self,
        model: EmbeddingModel,
        projection_dim: int | None = None,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, "mse", projection_dim, mini_batch_size=mini_batch_size)
