"""What this machine can compute on, and in which precision."""

from __future__ import annotations

import functools
import logging
import os
import threading
from contextlib import AbstractContextManager, nullcontext

import torch

from sentune.errors import SettingError

logger = logging.getLogger(__name__)

# "auto" stands for `auto_dtype` of the device.
AUTO = "auto"
# What the widest layer of an encoder may hold of one batch on the CPU: about what stays in the
# caches of two cores. Larger batches wait for memory, smaller ones for the overhead of each call.
_CPU_BYTES = 12 << 20
# The same on an accelerator, where a batch has to fill thousands of cores; and the part of its free
# memory that this may take, as the other layers hold a few times as much.
_ACCELERATOR_BYTES = 512 << 20
_PART_OF_MEMORY = 16
# A block that glibc just does not call too large to learn from.
_LARGEST_NOTED = (32 << 20) - (8 << 10)
_chosen = threading.local()


def best_device() -> torch.device:
    """The first accelerator there is, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def checked(name: str) -> str:
    """The name of a device, after checking that there is such a one here.

    Raises:
        SettingError: If there is not.
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *all_devices()]
    if torch.backends.mps.is_available():
        there += ["mps"]
    known = ("cpu", "cuda", "mps")  # of others, torch says what is wrong
    if name.partition(":")[0] in known and name not in there and name != "cpu:0":
        raise SettingError(f"there is no device {name!r} here; there are {', '.join(there)}")
    try:
        torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"{name!r} is no device; there are {', '.join(there)}") from error
    return name


def all_devices() -> list[str]:
    """One name per accelerator; four CPU workers where there is none."""
    if torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu"] * 4


def auto_dtype(device: torch.device | str) -> torch.dtype:
    """What "auto" multiplies in: bfloat16 where the chip has it natively, float32 elsewhere.

    Natively means AVX512-BF16 or AMX on a CPU, compute capability 8.0 on CUDA; other chips emulate
    it and are slower with it. The environment variable `SENTUNE_DTYPE` takes precedence; a
    `SettingError` says if it names no type.
    """
    return _auto_dtype(torch.device(device).type, os.environ.get("SENTUNE_DTYPE"))


def as_dtype(name: str | torch.dtype) -> torch.dtype:
    """The floating-point type of that name; a `SettingError` if there is none."""
    found = getattr(torch, name.removeprefix("torch."), None) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise SettingError(
            f"dtype must be 'auto', 'float32', 'bfloat16', 'float16' or a torch type, got {name!r}"
        )
    return found


def multiplying_in(
    dtype: torch.dtype | None, device: torch.device | str
) -> AbstractContextManager[object]:
    """Inside the block float32 tensors are multiplied in this type; None for no change."""
    if dtype is None:
        return nullcontext()
    # Without its cache of weights: it would be filled and dropped in every block.
    return torch.autocast(torch.device(device).type, dtype=dtype, cache_enabled=False)


def multiplied_in(kind: str) -> torch.dtype | None:
    """The type that such a block or autocast sets for matrix products; None without one."""
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


class SetPrecision:
    """Inside the block models do not choose what they multiply in: the caller has chosen."""

    def __enter__(self) -> None:
        _chosen.blocks = getattr(_chosen, "blocks", 0) + 1

    def __exit__(self, *_: object) -> None:
        _chosen.blocks -= 1


def precision_is_set(kind: str) -> bool:
    """Whether the caller has chosen what is multiplied in, by such a block or by autocast."""
    return getattr(_chosen, "blocks", 0) > 0 or torch.is_autocast_enabled(kind)


def tokens_per_batch(device: torch.device | str, width: int) -> int:
    """How many tokens a forward pass should hold to be fast; always the same on a machine."""
    device = torch.device(device)
    if device.type == "cpu":
        allowed = _CPU_BYTES
    else:
        is_cuda = device.type == "cuda"
        memory = torch.cuda.get_device_properties(device).total_memory if is_cuda else 8 << 30
        allowed = min(_ACCELERATOR_BYTES, memory // _PART_OF_MEMORY)
    return max(256, allowed // (4 * max(width, 1)))


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next batch, up to some 64 MB.

    glibc returns memory to the system at once, and asks for it again page by page, until it has
    seen a large block come and go; one of 32 MB is the largest that it takes note of. With other C
    libraries this has no effect.
    """
    torch.empty(_LARGEST_NOTED, dtype=torch.uint8)


@functools.cache
def _auto_dtype(kind: str, named: str | None) -> torch.dtype:
    if named:
        dtype = as_dtype(named)
    else:
        dtype = torch.bfloat16 if multiplies_bfloat16(kind) else torch.float32
    logger.info("dtype='auto' multiplies in %s on %s", str(dtype).removeprefix("torch."), kind)
    return dtype


def multiplies_bfloat16(kind: str) -> bool:
    """Whether this kind of device has matrix products in bfloat16 natively."""
    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if kind != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())  # older torch
