"""Encoding over several processes: one copy of the model per device, chunks of rows to each."""

from __future__ import annotations

import dataclasses
import functools
import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from sentune.checks import check_positive
from sentune.encoder import encode
from sentune.encoder.encode import Options
from sentune.errors import InputError, SettingError
from sentune.machine.device import all_devices
from sentune.vectors.finish import OutputValue, to_array

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

    def __init__(self, model: Any, devices: Sequence[str | torch.device] | None = None) -> None:
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
        self,
        items: Sequence[Any],
        options: Options,
        output_value: OutputValue | None = "sentence_embedding",
        chunk_size: int | None = None,
    ) -> Any:
        """Embeddings of the items `(b, d)`, or what else `output_value` names, in the order given.

        Args:
            items: b checked items, at least one.
            options: How each worker encodes; the progress bar is drawn here, one for all.
            output_value: As `sentune.encoder.encode.outputs`.
            chunk_size: Rows per piece of work; None for about ten pieces per process.

        Raises:
            InputError: If a worker died, as it does when memory runs out.
            SettingError: If the pool was stopped, or `chunk_size` is out of range.
        """
        if self._executor is None:
            raise SettingError("this pool was stopped; start another: start_multi_process_pool()")
        if chunk_size is None:
            chunk_size = math.ceil(len(items) / len(self.devices) / 10)
            chunk_size = max(1, min(chunk_size, _MOST_ROWS))
        check_positive(chunk_size=chunk_size)
        chunks = [items[start : start + chunk_size] for start in range(0, len(items), chunk_size)]
        work = functools.partial(
            _encode_chunk,
            options=dataclasses.replace(options, show_progress_bar=False),
            output_value=output_value,
        )
        parts: list[Any] = []
        try:
            with tqdm(total=len(items), desc="Texts", disable=not options.show_progress_bar) as bar:
                for chunk, part in zip(chunks, self._executor.map(work, chunks), strict=True):
                    parts.append(_as_tensors(part))
                    bar.update(len(chunk))
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died while encoding, most often because memory ran out; "
                "use fewer devices, a smaller batch_size, or a smaller chunk_size"
            ) from error
        if output_value == "sentence_embedding":
            return torch.cat(parts)
        return [row for part in parts for row in part]

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


def _on_cpu(model: Any) -> Any:
    """The model with its weights in shared memory, so that CPU workers share one copy."""
    return model.to("cpu").share_memory()


def _start_worker(model: Any, waiting: Any, threads: int) -> None:
    global _model
    torch.set_num_threads(threads)
    _model = model.to(waiting.get())


def _encode_chunk(items: Sequence[Any], options: Options, output_value: OutputValue | None) -> Any:
    return _as_arrays(encode.outputs(_model, items, options, output_value, to_cpu=True))


def _as_arrays(value: Any) -> Any:
    """Arrays in place of tensors, which would take a file handle each on their way."""
    if isinstance(value, Tensor):
        return to_array(value)
    if isinstance(value, dict):
        return {key: _as_arrays(part) for key, part in value.items()}
    return [_as_arrays(part) for part in value] if isinstance(value, (list, tuple)) else value


def _as_tensors(value: Any) -> Any:
    """Tensors in place of arrays."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, dict):
        return {key: _as_tensors(part) for key, part in value.items()}
    return [_as_tensors(part) for part in value] if isinstance(value, list) else value
