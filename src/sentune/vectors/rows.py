"""What can be done to rows of arrays, numpy's or torch's; torch need not be installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def is_tensor(values: Any) -> bool:
    """Whether an array is one of torch's."""
    return hasattr(values, "new_empty")


def to_numpy(values: Any) -> np.ndarray:
    """An array of numpy's; bfloat16, which numpy has not, becomes float32."""
    if not is_tensor(values):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()


def like(values: np.ndarray, other: Any) -> Any:
    """An array of numpy's as one of the library, and on the device, that another one has."""
    if not is_tensor(other):
        return values
    import torch

    # To wait for the copy would be to wait for all earlier work of an accelerator.
    return torch.from_numpy(values).to(other.device, non_blocking=other.is_cuda)


def take(values: Any, index: np.ndarray) -> Any:
    """The rows of `(n, ...)` with these numbers, `(len(index), ...)`; of a list, a list."""
    if isinstance(values, list):
        return [values[place] for place in index.tolist()]
    if is_tensor(values) and values.device.type == "cpu" and str(values.dtype) == "torch.int64":
        # Of tokens: torch's threads would wait for each other where a tokenizer uses all cores.
        return like(values.numpy()[index], values)
    return values[like(index, values)]


def put(rows: Any, numbers: Sequence[int], values: Any, size: int) -> Any:
    """The rows so far, `size` of them or None, changed to hold new ones at these numbers."""
    if isinstance(values, list):
        rows = [None] * size if rows is None else rows
        for number, value in zip(numbers, values, strict=True):
            rows[number] = value
        return rows
    if rows is None:  # the width is known from the first batch
        rows = empty(size, values)
    rows[like(np.asarray(numbers), rows)] = values
    return rows


def on_cpu(values: Any) -> Any:
    """An array in main memory."""
    return values.cpu() if is_tensor(values) else values


def cat(parts: Sequence[Any]) -> Any:
    """The arrays `(n_i, ...)`, at least one and all of one library, one below the other."""
    if len(parts) == 1:
        return parts[0]
    if not is_tensor(parts[0]):
        return np.concatenate(list(parts))
    import torch

    return torch.cat(list(parts))


def zeros_like(values: Any) -> Any:
    """Zeros of the same shape and type."""
    return values.new_zeros(values.shape) if is_tensor(values) else np.zeros_like(values)


def empty(rows: int, values: Any, *, on_cpu: bool = False) -> Any:
    """Memory for so many rows like those of an array `(n, ...)`, on its device or on the CPU."""
    shape = (rows, *values.shape[1:])
    if not is_tensor(values):
        return np.empty(shape, dtype=values.dtype)
    return values.new_empty(shape, **({"device": "cpu"} if on_cpu else {}))
