"""Devices by name, and batches on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sentune.machine.device import best_device


def get_device_name() -> str:
    """The device that models are put on where none is named, such as "cuda" or "cpu"."""
    return str(best_device())


def batch_to_device(batch: dict[str, Any], target_device: torch.device | str) -> dict[str, Any]:
    """A new batch with its tensors on a device; what is no tensor stays as it is."""
    return {
        name: value.to(target_device) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
