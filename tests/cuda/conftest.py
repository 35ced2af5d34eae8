"""Tests of what runs on a GPU with CUDA; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from tests.cuda.tools import DEVICE


@pytest.fixture(autouse=True)
def cuda():
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU with CUDA")
    assert not torch.backends.cuda.matmul.allow_tf32
    torch.manual_seed(0)
