"""Numbers of any kind as one tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentune.errors import InputError, InputTypeError
from sentune.tables import numbers_of
from sentune.types import ArrayLike


def to_tensor(embeddings: ArrayLike) -> Tensor:
    """Embeddings as one dense tensor, sharing memory with what was given where it can.

    An InputError if rows differ in length, an InputTypeError if there is anything but numbers.
    """
    if isinstance(embeddings, Tensor):
        return embeddings.to_dense() if embeddings.is_sparse else embeddings
    embeddings = numbers_of(embeddings)
    try:
        if isinstance(embeddings, np.ndarray):
            # A copy where torch cannot view the array: read-only, reversed.
            return torch.from_numpy(np.require(embeddings, requirements=["C", "W"]))
        items: list[Any] = list(embeddings)
        if items and all(isinstance(item, (Tensor, np.ndarray)) for item in items):
            return torch.stack([to_tensor(item) for item in items])
        return torch.tensor(items)
    except TypeError as error:
        raise InputTypeError(
            f"embeddings must be numbers in a tensor, a numpy array or a list, got "
            f"{type(embeddings).__name__}: {error}"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise InputError(f"the rows do not form one matrix of embeddings: {error}") from error
