"""Embeddings in fewer bits: one byte a number, or one bit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from sentune.errors import InputError, InputTypeError, SettingError
from sentune.tables import numbers_of
from sentune.vectors import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

logger = logging.getLogger(__name__)

Precision: TypeAlias = Literal["float32", "int8", "uint8", "binary", "ubinary"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

FEW_EMBEDDINGS = 100  # fewer than these make poor ranges


def quantize_embeddings(
    embeddings: Tensor | np.ndarray | Sequence[Any],
    precision: Precision,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
) -> Any:
    """The embeddings in another precision: `(b, d)`, or `(b, ceil(d / 8))` for the binary ones.

    Args:
        embeddings: Floating numbers `(b, d)`, or one embedding `(d,)`; of a list of `(b, d)`, which
            share their ranges, a list.
        precision: "float32"; "uint8" and "int8": the range of each dimension cut into 255 equal
            steps, 1 byte a number (int8 is uint8 - 128); "ubinary": the sign of each number,
            8 to a byte; "binary": the same bytes - 128.
        ranges: Smallest and largest value of each dimension, `(2, d)`, for int8 and uint8.
        calibration_embeddings: Embeddings `(c, d)` to take the ranges from where `ranges` is not
            given. Without either they come from the embeddings themselves, so that the same
            embedding in another batch gets other numbers: give one of them for an index.

    Raises:
        SettingError: If the precision is unknown.
        InputTypeError: If the embeddings are integers already.
        InputError: If ranges are missing or have the wrong shape, or a number is NaN for int8 or
            uint8.
    """
    if precision not in PRECISIONS:
        raise SettingError(f"precision {precision!r} is unknown; use one of {PRECISIONS}")
    if isinstance(embeddings, list) and (not embeddings or np.ndim(embeddings[0]) == 2):
        return _all_quantized(embeddings, precision, ranges, calibration_embeddings)
    values = as_numpy(embeddings)
    if not np.issubdtype(values.dtype, np.floating):
        raise InputTypeError(
            f"only floating embeddings can be quantized, got {values.dtype}; "
            "give the embeddings as the model made them, with precision='float32'"
        )
    if precision == "float32":
        return values.astype(np.float32)
    if precision in ("binary", "ubinary"):
        bits = np.packbits(values > 0, axis=-1)
        return (bits ^ 0x80).view(np.int8) if precision == "binary" else bits
    # A batch without rows has no range, and needs none.
    levels = _levels(values, ranges, calibration_embeddings) if values.size else values
    return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)


def _all_quantized(
    parts: list[Any], precision: Precision, ranges: np.ndarray | None, calibration: Any
) -> list[np.ndarray]:
    """Several matrices, with the same ranges."""
    arrays = [as_numpy(part) for part in parts]
    if precision.endswith("int8") and any(part.size for part in arrays):
        ranges = ranges_of(np.concatenate(arrays), ranges, calibration)
    return [quantize_embeddings(one, precision, ranges, calibration) for one in arrays]


def ranges_of(
    values: np.ndarray, ranges: np.ndarray | None = None, calibration: np.ndarray | None = None
) -> np.ndarray:
    """The ranges that are given, else those of the calibration embeddings, else of the values."""
    if ranges is None:
        source = _calibration(values) if calibration is None else as_numpy(calibration)
        ranges = np.stack([source.min(axis=0), source.max(axis=0)])
    return as_numpy(ranges).astype(np.float32, copy=False)


def dequantized(codes: np.ndarray, ranges: np.ndarray, *, is_signed: bool) -> np.ndarray:
    """The low ends of the steps that int8 (signed) or uint8 embeddings are on, as float64."""
    smallest, steps = _steps(as_numpy(ranges).astype(np.float32, copy=False))
    return (codes.astype(np.float64) + (128 if is_signed else 0)) * steps + smallest


def _steps(ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest value of each dimension, and how far apart its steps are."""
    smallest, largest = ranges
    steps = (largest - smallest) / 255
    return smallest, np.where(steps == 0, 1, steps)  # 1 where a dimension never varies


def _levels(
    values: np.ndarray, ranges: np.ndarray | None, calibration: np.ndarray | None
) -> np.ndarray:
    """Which of the steps 0 to 255 each value is on."""
    ranges = ranges_of(values, ranges, calibration)
    if ranges.shape != (2, values.shape[-1]):
        raise InputError(
            f"ranges must have the shape (2, {values.shape[-1]}): the smallest and the largest "
            f"value of each dimension; got {ranges.shape}"
        )
    smallest, steps = _steps(ranges)
    levels = np.clip(np.floor((values - smallest) / steps), 0, 255)
    if np.isnan(levels).any():
        is_missing = np.isnan(np.atleast_2d(values)).any(axis=1)
        where = (
            f"embedding {int(is_missing.argmax())} has" if is_missing.any() else "the ranges have"
        )
        raise InputError(
            f"{where} NaN or infinite numbers, which no byte can hold; leave such embeddings out, "
            "also of those that the ranges come from"
        )
    return levels


def _calibration(values: np.ndarray) -> np.ndarray:
    """The embeddings themselves, where there are enough of them to have a range."""
    if values.ndim == 1 or len(values) == 1:
        raise InputError(
            "one embedding has no range to quantize in; give ranges, or calibration_embeddings "
            "from a few hundred typical texts"
        )
    if len(values) < FEW_EMBEDDINGS:
        logger.warning(
            "Ranges for quantization come from %d embeddings only; give ranges, or "
            "calibration_embeddings from a few hundred typical texts.",
            len(values),
        )
    return values


def as_numpy(values: Any) -> np.ndarray:
    """Embeddings of any kind as an array."""
    values = numbers_of(values)
    if rows.is_tensor(values) or isinstance(values, np.ndarray):
        return rows.to_numpy(values)
    if any(map(rows.is_tensor, values)):
        return np.stack([as_numpy(row) for row in values])
    return np.asarray(values, dtype=None if len(values) else np.float32)
