"""Encoding over several processes: one copy of the model per device, chunks of rows to each."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sentune.device import all_devices
from sentune.encoder import encode
from sentune.encoder.encode import Options
from sentune.errors import InputError, SettingError

if TYPE_CHECKING:
    from sentune.encoder.sentence_transformer import SentenceTransformer

# Rows handed to a worker at a time are at most this many.
_MOST_ROWS = 5_000

_model: Any = None  # in a worker process: its copy of the model


class WorkerPool:
    """Processes that each hold a copy of one model.

    Args:
        model: The model; it is sent to each process once.
        devices: One process per entry: "cpu", "cuda:0" ...; None for every accelerator, or four
            processes on the CPU.
    """

    def __init__(
        self, model: SentenceTransformer, devices: Sequence[str | torch.device] | None = None
    ) -> None:
        self.devices = [str(device) for device in devices or all_devices()]
        context = multiprocessing.get_context("spawn")
        waiting = context.Queue()
        for device in self.devices:
            waiting.put(device)
        threads = max(1, torch.get_num_threads() // len(self.devices))
        self._executor: ProcessPoolExecutor | None = ProcessPoolExecutor(
            len(self.devices),
            mp_context=context,
            initializer=_start_worker,
            initargs=(_on_cpu(model), waiting, threads),
        )

    def encode(
        self, items: Sequence[Any], options: Options, chunk_size: int | None = None
    ) -> Tensor:
        """Embeddings of the items `(b, d)` in the order given.

        Args:
            items: b checked items.
            options: How each worker encodes.
            chunk_size: Rows per piece of work; None for about ten pieces per process.

        Raises:
            InputError: If a worker died, as it does when memory runs out.
        """
        if self._executor is None:
            raise SettingError("this pool was stopped; start another: start_multi_process_pool()")
        if chunk_size is None:
            chunk_size = math.ceil(len(items) / len(self.devices) / 10)
            chunk_size = max(1, min(chunk_size, _MOST_ROWS))
        chunks = [items[start : start + chunk_size] for start in range(0, len(items), chunk_size)]
        try:
            parts = list(self._executor.map(_encode_chunk, chunks, [options] * len(chunks)))
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died while encoding, most often because memory ran out; "
                "use fewer devices, a smaller batch_size, or a smaller chunk_size"
            ) from error
        return torch.cat([torch.from_numpy(part) for part in parts])

    def stop(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def __enter__(self) -> WorkerPool:
        """The pool itself; it is stopped at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _on_cpu(model: SentenceTransformer) -> SentenceTransformer:
    """The model with its weights in shared memory, so that CPU workers share one copy."""
    return model.to("cpu").share_memory()


def _start_worker(model: SentenceTransformer, waiting: Any, threads: int) -> None:
    global _model
    torch.set_num_threads(threads)
    _model = model.to(waiting.get())


def _encode_chunk(items: Sequence[Any], options: Options) -> Any:
    return encode.sentence_embeddings(_model, items, options, to_cpu=True).float().numpy()
