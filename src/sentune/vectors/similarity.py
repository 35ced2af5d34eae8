"""Similarity of embeddings: cosine, dot, euclidean, manhattan; all pairs and row by row.

Every function takes tensors, numpy arrays, lists or tables of numbers. All pairs of `a (b_a, d)`
and `b (b_b, d)` give `(b_a, b_b)`, and a single vector `(d,)` counts as one row; row by row `(b,
d)` and `(b, d)` give `(b,)`, and two single vectors one number. Half precision is raised to float32
first: products rounded to half would put near scores on the same value.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sentune.errors import InputError, SettingError
from sentune.tables import numbers_of
from sentune.types import ArrayLike
from sentune.vectors.maxsim import maxsim, maxsim_pairwise, mean_maxsim, mean_maxsim_pairwise
from sentune.vectors.tensors import to_tensor as to_tensor

if TYPE_CHECKING:
    Embeddings = TypeVar("Embeddings", Tensor, np.ndarray)

Similarity: TypeAlias = Callable[[ArrayLike, ArrayLike], Tensor]

_KEPT_DTYPES = (torch.float32, torch.float64, torch.int32, torch.int64)


def cos_sim(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The cosine of every row of `a` with every row of `b`, `(b_a, b_b)`."""
    left, right = _rows(a, b)
    return _unit(left) @ _unit(right).T


def dot_score(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The dot product of every row of `a` with every row of `b`, `(b_a, b_b)`."""
    left, right = _rows(a, b)
    return left @ right.T


def euclidean_sim(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Minus the euclidean distance of every row of `a` to every row of `b`, `(b_a, b_b)`."""
    left, right = _rows(a, b)
    return -torch.cdist(_floating(left), _floating(right), p=2.0)


def manhattan_sim(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Minus the manhattan distance of every row of `a` to every row of `b`, `(b_a, b_b)`."""
    left, right = _rows(a, b)
    return -torch.cdist(_floating(left), _floating(right), p=1.0)


def pairwise_cos_sim(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The cosine of row i of `a` with row i of `b`, `(b,)`."""
    left, right = _pairs(a, b)
    return (_unit(left) * _unit(right)).sum(dim=-1)


def pairwise_dot_score(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The dot product of row i of `a` with row i of `b`, `(b,)`."""
    left, right = _pairs(a, b)
    return (left * right).sum(dim=-1)


def pairwise_euclidean_sim(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Minus the euclidean distance of row i of `a` to row i of `b`, `(b,)`."""
    left, right = _pairs(a, b)
    # vector_norm, not sqrt of a sum: its gradient is 0, not NaN, where the rows are equal.
    return -torch.linalg.vector_norm(_floating(left - right), dim=-1)


def pairwise_manhattan_sim(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Minus the manhattan distance of row i of `a` to row i of `b`, `(b,)`."""
    left, right = _pairs(a, b)
    return -(left - right).abs().sum(dim=-1)


def pairwise_angle_sim(x: ArrayLike, y: ArrayLike) -> Tensor:
    """The size of the complex angle between row i of `x` and row i of `y`, `(b,)`.

    The first half of a vector is read as real parts and the second half as imaginary parts
    (an odd width gets one zero more). With both vectors of unit length, the score is
    `|sum Re(z_a conj(z_b)) + sum Im(z_a conj(z_b))|`.

    Source: AnglE, equations 5 to 8, https://arxiv.org/abs/2309.12871, with lengths divided out.
    """
    left, right = (_unit(side) for side in _pairs(x, y))
    if left.shape[-1] % 2:
        left, right = F.pad(left, (0, 1)), F.pad(right, (0, 1))
    left_real, left_imaginary = left.chunk(2, dim=-1)
    right_real, right_imaginary = right.chunk(2, dim=-1)
    real = (left * right).sum(dim=-1)
    imaginary = (left_imaginary * right_real - left_real * right_imaginary).sum(dim=-1)
    return (real + imaginary).abs()


@overload
def normalize_embeddings(embeddings: np.ndarray) -> np.ndarray: ...
@overload
def normalize_embeddings(embeddings: Tensor | list[Any]) -> Tensor: ...
def normalize_embeddings(embeddings: Tensor | np.ndarray | list[Any]) -> Tensor | np.ndarray:
    """The embeddings `(..., d)` scaled to length 1, in the dtype given; a zero vector stays zero.

    A numpy array gives a numpy array, all else a tensor.
    """
    unit = F.normalize(_floating(to_tensor(embeddings)), p=2, dim=-1)
    return unit.numpy() if isinstance(embeddings, np.ndarray) else unit


def truncate_embeddings(embeddings: Embeddings, truncate_dim: int | None) -> Embeddings:
    """The first `truncate_dim` numbers of every embedding `(..., d)`; None keeps all.

    A view of a tensor or a numpy array; all else gives a tensor.
    """
    embeddings = numbers_of(embeddings)
    if not isinstance(embeddings, (Tensor, np.ndarray)):
        embeddings = to_tensor(embeddings)
    return embeddings[..., :truncate_dim]


class SimilarityFunction(str, Enum):
    """The names of the similarities a model can be compared with.

    The last two are for embeddings with a vector per token, all others for one vector per text.
    """

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"
    MAXSIM = "maxsim"
    MEAN_MAXSIM = "meanmaxsim"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def _missing_(cls, value: object) -> SimilarityFunction:
        raise SettingError(
            f"{value!r} is not a similarity function; use one of {cls.possible_values()}"
        )

    @staticmethod
    def to_similarity_fn(similarity_function: str | SimilarityFunction) -> Similarity:
        """The function that compares all pairs."""
        return _FUNCTIONS[SimilarityFunction(similarity_function)][0]

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: str | SimilarityFunction) -> Similarity:
        """The function that compares row by row."""
        return _FUNCTIONS[SimilarityFunction(similarity_function)][1]

    @staticmethod
    def possible_values() -> list[str]:
        """The names, as used in settings and files."""
        return [member.value for member in SimilarityFunction]


# Those of one vector per text.
OF_VECTORS = tuple(SimilarityFunction.possible_values()[:4])


def of_vectors(name: str | SimilarityFunction) -> str:
    """The name of a similarity of one vector per text; a `SettingError` for all others."""
    found = SimilarityFunction(name).value
    if found not in OF_VECTORS:
        raise SettingError(
            f"{found!r} compares embeddings with a vector per token; use one of {OF_VECTORS}"
        )
    return found


def compares_by_name(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Say of a model's method that it compares as the model's `similarity_fn_name` says."""
    method.compares_by_name = True  # type: ignore[attr-defined]
    return method


def function_of(score: Similarity) -> Similarity:
    """The function behind a model's `similarity`; other functions as they are."""
    if getattr(score, "compares_by_name", False):
        return SimilarityFunction.to_similarity_fn(score.__self__.similarity_fn_name)  # type: ignore[attr-defined]
    return score


_FUNCTIONS: dict[SimilarityFunction, tuple[Similarity, Similarity]] = {
    SimilarityFunction.COSINE: (cos_sim, pairwise_cos_sim),
    SimilarityFunction.DOT: (dot_score, pairwise_dot_score),
    SimilarityFunction.EUCLIDEAN: (euclidean_sim, pairwise_euclidean_sim),
    SimilarityFunction.MANHATTAN: (manhattan_sim, pairwise_manhattan_sim),
    # Of embeddings with a vector per token.
    SimilarityFunction.MAXSIM: (maxsim, maxsim_pairwise),
    SimilarityFunction.MEAN_MAXSIM: (mean_maxsim, mean_maxsim_pairwise),
}


def to_rows(embeddings: ArrayLike) -> Tensor:
    """Embeddings as a matrix, as every similarity reads them; half precision becomes float32."""
    return torch.atleast_2d(_read(embeddings))


def _read(embeddings: ArrayLike) -> Tensor:
    tensor = to_tensor(embeddings)
    if not tensor.dim():
        raise InputError(f"embeddings must be vectors, got the single number {tensor.item()}")
    return tensor if tensor.dtype in _KEPT_DTYPES else tensor.float()


def _rows(a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    """Both as matrices of the same width."""
    left, right = to_rows(a), to_rows(b)
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[1]:
        raise InputError(
            f"cannot compare embeddings of shapes {tuple(left.shape)} and {tuple(right.shape)}; "
            "give two matrices (or single vectors) of the same width"
        )
    dtype = torch.promote_types(left.dtype, right.dtype)
    return left.to(dtype), right.to(dtype)


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    """Both as tensors whose rows can be matched one to one."""
    left, right = _read(a), _read(b)
    # Leading dimensions may broadcast, as losses over several negatives need.
    is_matching = left.shape[-1:] == right.shape[-1:] and all(
        m == n or 1 in (m, n) for m, n in zip(left.shape[::-1], right.shape[::-1], strict=False)
    )
    if not is_matching:
        raise InputError(
            f"cannot compare row by row embeddings of shapes {tuple(left.shape)} and "
            f"{tuple(right.shape)}; give as many rows, of the same width, on both sides"
        )
    return left, right


def _floating(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() else tensor.float()


def _unit(tensor: Tensor) -> Tensor:
    return F.normalize(_floating(tensor), p=2, dim=-1)
