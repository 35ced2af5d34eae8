"""Several processes: which one this is, how many there are, and gathering rows with gradient.

On a single process every function here does nothing and costs nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

_TIMES_AT_REST = 3  # looks in a row, so that a thread just being woken is seen once


def is_distributed() -> bool:
    """Whether this process is one of several."""
    return world_size() > 1


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if is_ready() else 0


def world_size() -> int:
    """Number of processes, w."""
    return distributed.get_world_size() if is_ready() else 1


def is_ready() -> bool:
    """Whether this process belongs to a group of torch.distributed."""
    return distributed.is_available() and distributed.is_initialized()


@functools.cache
def leave_group_at_exit() -> None:
    """Leave the group before Python ends, on the CPU: gloo's threads may else abort the process.

    A thread of gloo that has summed a tensor takes the GIL to let go of it. Python, when it ends,
    kills threads that want the GIL, and C++ answers that by aborting the process.
    """
    atexit.register(_leave_group)


def _leave_group() -> None:
    if is_ready() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()
        _wait_for_gloo()


def _wait_for_gloo(seconds: float = 10.0) -> None:
    """Wait until gloo's threads rest; sleeping leaves them the GIL, so none waits for it."""
    end, at_rest = time.monotonic() + seconds, 0
    while at_rest < _TIMES_AT_REST and time.monotonic() < end:
        time.sleep(0.01)
        at_rest = at_rest + 1 if _gloo_rests() else 0


def _gloo_rests() -> bool:
    """Whether no thread of gloo is running; where the system does not tell, taken as true."""
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # a thread that has ended since
            name, state = (task / "stat").read_text().rpartition(")")[::2]
            if "gloo" in name and state.split()[0] != "S":
                return False
    return True


def all_gather_with_grad(tensor: Tensor) -> Tensor:
    """The rows of all processes, `(rows of all, ...)`, in the order of their ranks.

    The gradient of a row is the sum of what every process sends back to it; averaged over the
    processes, as in data-parallel training, it is the gradient of one process that holds all rows.

    Args:
        tensor: `(b, ...)`; b may differ between processes, the rest may not.
    """
    return gather_rows([tensor])[0][0]


def gather_rows(columns: Sequence[Tensor]) -> tuple[list[Tensor], int]:
    """Columns `(b, d)` as `(rows of all processes, d)`; and the place of this one's first row."""
    if not is_distributed():
        return list(columns), 0
    stacked = torch.stack(list(columns), dim=1)  # (b, n, d)
    counts = _row_counts(stacked)
    gathered = _GatherRows.apply(stacked, counts)
    return list(gathered.unbind(dim=1)), sum(counts[: rank()])


def _row_counts(tensor: Tensor) -> list[int]:
    own = torch.tensor([len(tensor)], device=tensor.device)
    counts = [torch.empty_like(own) for _ in range(world_size())]
    distributed.all_gather(counts, own)
    return [int(count) for count in counts]


class _GatherRows(torch.autograd.Function):
    """all_gather of row counts that may differ; backward is the sum over processes of own rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        # Collectives want equal shapes: every process sends as many rows as the largest.
        sent = tensor.new_zeros((max(counts), *tensor.shape[1:]))
        sent[: len(tensor)] = tensor
        received = [torch.empty_like(sent) for _ in counts]
        distributed.all_gather(received, sent)
        return torch.cat([rows[:n] for rows, n in zip(received, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        start = sum(ctx.counts[: rank()])
        return total[start : start + ctx.counts[rank()]], None
