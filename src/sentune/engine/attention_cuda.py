"""Attention on CUDA: kernels for sentences of any length, which take packed tokens as they are.

They are those behind torch's `scaled_dot_product_attention`, as its nested tensors call them: the
flash kernel for half precision, the memory-efficient one for float32 and for older chips.
The first draws dropout itself. Their layout needs nothing but where each sentence begins.

Sources: Dao 2023, https://arxiv.org/abs/2307.08691; Rabe and Staats 2021,
https://arxiv.org/abs/2112.05682.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Kernel = Literal["flash", "efficient"]


class How(NamedTuple):
    """How attention is computed."""

    dropout: float  # share of attention weights dropped
    scale: float | None  # factor on the scores; None for 1/sqrt(d_head)
    window: int | None = None  # tokens i and j see each other if |i - j| < window; None for all


_HALF = (torch.float16, torch.bfloat16)


def kernel_for(query: Tensor, dropout: float = 0.0, window: int | None = None) -> Kernel | None:
    """The kernel for a query `(T, heads, d_head)` of this type and width; None if there is none.

    What a user switches off, as by `torch.nn.attention.sdpa_kernel`, is not taken. Nor is the
    memory-efficient one with dropout: its backward over rows of several lengths drops other weights
    than its forward (torch 2.11).
    """
    width = query.shape[-1]
    if not query.is_cuda or torch.version.hip is not None or width % 8:
        return None
    is_new = _capability(query.device) >= (8, 0)
    # Chips with less shared memory have no backward of flash for wider heads.
    widest = 192 if query.requires_grad and torch.is_grad_enabled() else 256
    is_flash = is_new and query.dtype in _HALF and width <= widest
    if is_flash and _has_flash() and torch.backends.cuda.flash_sdp_enabled():
        return "flash"
    is_known = query.dtype in (torch.float32, torch.float16) or (is_new and query.dtype in _HALF)
    is_plain = not dropout and window is None
    if is_known and is_plain and torch.backends.cuda.mem_efficient_sdp_enabled():
        return "efficient"
    return None


def attend(kernel: Kernel, qkv: Sequence[Tensor], starts: Tensor, longest: int, how: How) -> Tensor:
    """Attention of each sentence over itself, `(T, heads, d_head)`, as are query, key and value.

    `starts (b+1,)`, int32, is where each sentence begins, and the end; none is empty.
    """
    sizes = starts, starts, longest, longest
    if kernel == "flash":
        reaches = "window_size_left", "window_size_right"
        reach = {} if how.window is None else dict.fromkeys(reaches, how.window - 1)
        return torch.ops.aten._flash_attention_forward(
            *qkv, *sizes, how.dropout, False, False, scale=how.scale, **reach
        )[0]
    is_trained = torch.is_grad_enabled() and any(x.requires_grad for x in qkv)
    parts = (x[None] for x in qkv)
    return torch.ops.aten._efficient_attention_forward(
        *parts, None, *sizes, how.dropout, 0, is_trained, scale=how.scale
    )[0][0]


@functools.cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


@functools.cache
def _has_flash() -> bool:
    """Whether this build of torch has the flash kernel."""
    return getattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)()
