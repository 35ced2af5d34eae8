"""Embeddings of all rows -> what the caller asked for: quantised, numpy, tensor or list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from sentune.errors import SettingError
from sentune.vectors import rows
from sentune.vectors.quantize import PRECISIONS, quantize_embeddings
from sentune.vectors.quantize import Precision as Precision

if TYPE_CHECKING:
    from torch import Tensor

OutputValue = Literal["sentence_embedding", "token_embeddings"]


def check(output_value: str | None, precision: str | None) -> None:
    """Check two options before any work is done."""
    if output_value is not None and output_value not in get_args(OutputValue):
        raise SettingError(
            f"output_value must be one of {get_args(OutputValue)} or None for everything, "
            f"got {output_value!r}"
        )
    if precision is not None and precision not in PRECISIONS:
        raise SettingError(f"precision must be one of {PRECISIONS}, got {precision!r}")


def finish(
    embeddings: np.ndarray | Tensor, precision: Precision | None, *, to_numpy: bool, to_tensor: bool
) -> np.ndarray | Tensor | list[Tensor]:
    """The embeddings `(b, d)`, quantised if asked: a tensor, an array, or a list of rows."""
    result: Any = embeddings
    if precision is not None and precision != "float32" and len(embeddings):
        full = rows.to_numpy(embeddings).astype(np.float32, copy=False)
        result = quantize_embeddings(full, precision=precision)
    if to_numpy and not to_tensor:
        return rows.to_numpy(result)
    import torch

    return torch.as_tensor(result) if to_tensor else list(torch.as_tensor(result))
