"""Small changes of tensors, under the names that code for sentence-transformers imports."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from sentune.checks import check_positive
from sentune.errors import InputError
from sentune.machine.distributed import all_gather_with_grad, gather_rows
from sentune.vectors.similarity import to_tensor

logger = logging.getLogger(__name__)

_WIDEST_SPREAD = 100  # of the logits of a softmax in float32 whose smallest result is not 0


def all_gather(tensor: Tensor, with_grad: bool = False) -> Tensor:
    """The rows of all processes, `(rows of all, ...)`, in the order of their ranks.

    Args:
        tensor: `(b, ...)`.
        with_grad: Whether gradients flow to the rows of others; to its own they always do.
    """
    if with_grad:
        return all_gather_with_grad(tensor)
    (rows,), start = gather_rows([tensor.detach()])
    return torch.cat([rows[:start], tensor, rows[start + len(tensor) :]])


def check_teacher_targets(
    teacher_probabilities: Tensor,
    teacher_logits: Tensor,
    teacher_temperature: float,
    loss_name: str,
) -> None:
    """Check what a loss is to learn from a teacher.

    Args:
        teacher_probabilities: `(b, n)`; a warning says how many of them became 0.
        teacher_logits: The scores that they are made of, `(b, n)`; infinite ones are on purpose.
        teacher_temperature: What the scores were divided by.
        loss_name: For the message.

    Raises:
        InputError: If a score is NaN.
    """
    scores = teacher_logits.detach().float()
    if scores.isnan().any():
        raise InputError(f"{loss_name}: a score of the teacher is NaN, and so would be the loss")
    lost = int((teacher_probabilities == 0).sum())
    if lost and not scores.isinf().any():
        spread = (scores.amax(dim=-1) - scores.amin(dim=-1)).max().item()
        logger.warning(
            "%s: %d of %d targets are 0 with teacher_temperature=%s, because scores of one row lie "
            "up to %.1f apart; such rows want at least %.3g",
            loss_name,
            lost,
            teacher_probabilities.numel(),
            teacher_temperature,
            spread,
            spread / _WIDEST_SPREAD,
        )


def _convert_to_tensor(a: Any) -> Tensor:
    """Numbers of any kind as a tensor; a list of sparse tensors stays sparse."""
    if isinstance(a, list) and a and all(isinstance(x, Tensor) for x in a):
        return torch.stack([x.coalesce().float() if x.is_sparse else x for x in a])
    if isinstance(a, Tensor):
        return a.float() if a.is_sparse else a
    return to_tensor(a)


def _convert_to_batch(a: Tensor) -> Tensor:
    """`(d,)` as `(1, d)`; others as they are."""
    return a.unsqueeze(0) if a.ndim == 1 else a


def _convert_to_batch_tensor(a: Any) -> Tensor:
    """Numbers of any kind as a tensor with rows."""
    return _convert_to_batch(_convert_to_tensor(a))


def _move_tensors_to_cpu(value: Any) -> Any:
    """The same with its tensors in main memory, however deep in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _move_tensors_to_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_move_tensors_to_cpu, value))
    return value


def select_max_active_dims(embeddings: Any, max_active_dims: int | None) -> Any:
    """`(b, d)` with all but the entries of largest absolute value in each row set to 0.

    Args:
        embeddings: They stay as they are.
        max_active_dims: How many are kept; None for all.

    Raises:
        SettingError: If that is no positive number.
    """
    if max_active_dims is None:
        return embeddings
    check_positive(max_active_dims=max_active_dims)
    x = _convert_to_tensor(embeddings)
    kept = x.abs().topk(min(max_active_dims, x.shape[-1]), dim=-1).indices
    return torch.zeros_like(x).scatter(-1, kept, x.gather(-1, kept))


def compute_count_vector(embeddings: Tensor) -> Tensor:
    """How many of the rows have an entry other than 0, `(d,)` int32, of `(b, d)` or `(d,)`."""
    rows = _convert_to_batch(embeddings.to_dense() if embeddings.is_sparse else embeddings)
    return (rows != 0).sum(dim=0, dtype=torch.int32)


def to_scipy_coo(x: Tensor) -> Any:
    """A sparse `(b, d)` tensor as a `scipy.sparse.coo_matrix`."""
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]

    x = x.coalesce()
    values, places = x.values().cpu(), x.indices().cpu().numpy()
    values = values.float() if values.dtype == torch.bfloat16 else values
    return coo_matrix((values.numpy(), (places[0], places[1])), shape=tuple(x.shape))
