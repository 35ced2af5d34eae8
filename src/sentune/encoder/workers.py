"""Encoding over several processes: a copy of the model on each device, pieces of rows to each."""

from __future__ import annotations

import logging
import math
import multiprocessing
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from multiprocessing.spawn import get_preparation_data
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sentune.checks import check_positive
from sentune.encoder.runner import Options, TorchRunner, adding_up, note_truncated
from sentune.errors import SettingError, WorkersDiedError
from sentune.flow import loop
from sentune.flow.sinks import Whole
from sentune.machine.device import all_devices
from sentune.text.inputs import character_length
from sentune.vectors import rows as arrays

logger = logging.getLogger(__name__)

# Rows handed to a worker at a time are at most this many.
_MOST_ROWS = 5_000
# Pieces that a worker gets of one call, so that all end at about the same time.
_PIECES = 10
# What a text costs besides its characters, in characters: the tokens that every text has.
_PER_TEXT = 10
# How often a piece is tried where workers die of it.
_TRIES = 2
_NOT_READY = (
    "a worker process ended before it was ready ({reason}). The file of a program that starts "
    "processes is run by each of them: put what it does under `if __name__ == '__main__':`"
)


class WorkerPool:
    """Processes that each hold a copy of one model.

    A worker that dies is replaced, and what it was given is done again. Settings of the model that
    change later, as `max_seq_length`, are followed. There is a process per device; without
    `devices`, for every accelerator, or four on the CPU.
    """

    def __init__(self, model: Any, devices: Sequence[str | torch.device] | None = None) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise SettingError(_NOT_READY.format(reason="it began to start processes of its own"))
        _check_program()
        self.devices = [str(device) for device in devices or all_devices()]
        # Weights in shared memory, so that workers on the CPU share one copy.
        self._model = model.to("cpu").share_memory()
        self._sent = _settings(model)
        self._lock = threading.Lock()
        self._runs = 0
        self._workers: list[_Worker] = []
        try:
            self._workers = [self._new_worker(device) for device in self.devices]
            for worker in self._workers:
                worker.greet(self._model)
        except BaseException:
            self.stop()
            raise

    def encode(
        self,
        items: Sequence[Any],
        options: Options,
        chunk_size: int | None = None,
        count: Callable[[int], object] = lambda items: None,
    ) -> Any:
        """What `options` asks for, as one array or list in the order of the items.

        There must be items. A piece of work has `chunk_size` rows; by default it has a tenth of
        the characters that each process gets, since long texts take longer. `count` is called with
        the number of items of each piece that is done. A WorkersDiedError if workers die of a
        piece, as they do when memory runs out.
        """
        if not self._workers:
            raise SettingError("this pool was stopped; start another: start_multi_process_pool()")
        if chunk_size is None:
            chunks = pieces(items, _PIECES * len(self.devices))
        else:
            check_positive(chunk_size=chunk_size)
            starts = range(0, len(items), chunk_size)
            chunks = [items[start : start + chunk_size] for start in starts]
        with self._lock:
            self._follow_settings()
            found = self._run(chunks, options, count)
        if isinstance(found[0], list):
            return [_as_tensors(row) for part in found for row in part]
        return arrays.cat([_as_tensors(part) for part in found])

    @property
    def processes(self) -> list[Any]:
        """The processes that work for the pool now, one per device; none once it was stopped."""
        return [worker.process for worker in self._workers]

    def __getitem__(self, name: str) -> list[Any]:
        """`pool["processes"]`, as in programs that take a pool for a dict."""
        if name != "processes":
            raise KeyError(
                f"{name!r}: a pool has no queues, each process gets its work by a pipe of its own; "
                "there is pool['processes'], and encode(..., pool=pool) gives them work"
            )
        return self.processes

    def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def __enter__(self) -> WorkerPool:
        """The pool itself; it is stopped at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(
        self, chunks: Sequence[Any], options: Options, count: Callable[[int], object]
    ) -> list[Any]:
        """The pieces of work, each to the next free worker; results in order."""
        self._runs += 1  # a run that ended in an error may have left workers at its pieces
        found: dict[int, Any] = {}
        truncated = 0
        left, tries = deque(range(len(chunks))), [0] * len(chunks)
        while len(found) < len(chunks):
            for place, worker in enumerate(self._workers):
                if worker.piece is None and left:
                    piece = self._runs, left.popleft()
                    if not worker.give(piece, chunks[piece[1]], options):
                        self._replace(place, piece, left, tries)
            busy = {place: one.piece for place, one in enumerate(self._workers) if one.piece}
            for place, result in self._answers(list(busy)):
                piece, self._workers[place].piece = busy[place], None
                if result is None:
                    self._replace(place, piece, left, tries)
                elif piece[0] == self._runs:
                    if isinstance(result[0], BaseException):
                        raise result[0]
                    found[piece[1]] = result[0]
                    truncated += result[1]
                    count(len(chunks[piece[1]]))
        note_truncated(self._model, truncated, sum(map(len, chunks)))
        return [found[number] for number in range(len(chunks))]

    def _answers(self, places: Sequence[int]) -> Iterator[tuple[int, tuple[Any, int] | None]]:
        """Who has finished its piece, with what came of it; None for who died."""
        busy = [self._workers[place] for place in places]
        ready = set(wait([x for worker in busy for x in (worker.pipe, worker.sentinel)]))
        for place, worker in zip(places, busy, strict=True):
            if ready & {worker.pipe, worker.sentinel}:
                yield place, worker.answer()

    def _replace(
        self, place: int, piece: tuple[int, int], left: deque[int], tries: list[int]
    ) -> None:
        """Another worker for one that died, and its piece once more."""
        reason = self._workers[place].reason()
        run, number = piece
        if run == self._runs:
            tries[number] += 1
            if tries[number] >= _TRIES:
                self.stop()
                raise WorkersDiedError(
                    f"worker processes died {_TRIES} times on the same texts ({reason}), most "
                    "often because memory ran out; use fewer devices, a smaller batch_size, or a "
                    "smaller chunk_size"
                )
            logger.warning("a worker died (%s); its texts are encoded again", reason)
            left.appendleft(number)
        self._workers[place].stop()
        worker = self._new_worker(self.devices[place])
        worker.greet(self._model)
        self._workers[place] = worker

    def _follow_settings(self) -> None:
        """Send the model again where its settings are other ones now."""
        if self._sent != (now := _settings(self._model)):
            for worker in self._workers:
                with suppress(OSError):  # one that died gets it when it is replaced
                    worker.send("model", self._model)
            self._sent = now

    def _new_worker(self, device: str) -> _Worker:
        return _Worker(device, max(1, torch.get_num_threads() // len(self.devices)))


def pieces(items: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """The items in about so many parts with as much work in each, by their characters."""
    ends = list(accumulate(_PER_TEXT + character_length(item) for item in items))
    most = math.ceil(ends[-1] / count)
    found: list[Sequence[Any]] = []
    start = done = 0
    for place, end in enumerate(ends, 1):
        if end - done >= most or place - start == _MOST_ROWS or place == len(ends):
            found.append(items[start:place])
            start, done = place, end
    return found


def _check_program() -> None:
    """Raise an error if workers could not run the program's file, as each does when it starts."""
    path = get_preparation_data("").get("init_main_from_path")
    if path is not None and not Path(path).is_file():
        raise SettingError(
            f"worker processes cannot run the program, as {path} is no file. It seems to come from "
            "standard input or a pipe: save it in a file and start that"
        )


class _Worker:
    """A process with a copy of the model, seen from outside."""

    def __init__(self, device: str, threads: int) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, device, threads), daemon=True)
        self.piece: tuple[int, int] | None = None  # what it works on: run and number
        self.process.start()
        other.close()

    @property
    def sentinel(self) -> Any:
        """What `wait` sees when the process ends."""
        return self.process.sentinel

    def greet(self, model: Any) -> None:
        """Wait until it has started, and send it the model; an error if it ends before that."""
        wait([self.pipe, self.sentinel])
        try:
            if not self.pipe.poll():
                raise EOFError
            self.pipe.recv()
            self.send("model", model)
        except (EOFError, OSError) as error:
            raise SettingError(_NOT_READY.format(reason=self.reason())) from error

    def send(self, kind: str, content: Any) -> None:
        """Send it a model or a piece of work."""
        # Pickled by itself, so that the worker can say what it could not unpickle.
        self.pipe.send((kind, bytes(ForkingPickler.dumps(content))))

    def give(self, piece: tuple[int, int], items: Any, options: Options) -> bool:
        """Hand it a piece of work; whether it took it."""
        try:
            self.send("run", (items, options))
        except OSError:
            return False
        self.piece = piece
        return True

    def answer(self) -> tuple[Any, int] | None:
        """What came of its piece, and how many texts were truncated; None if the process died."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None

    def reason(self) -> str:
        """Why it ended."""
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(1)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)


def _work(pipe: Any, device: str, threads: int) -> None:
    """What a worker process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it handles Ctrl-C
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError):  # the pipe is closed, perhaps while it works
        pipe.send("ready")
        model: Any = None
        while True:
            kind, content = pipe.recv()
            if kind == "model":
                model = _loaded(content, device)
            else:
                with adding_up() as truncated:
                    answer = _answer(model, content)
                pipe.send((answer, truncated.texts))


def _loaded(content: bytes, device: str) -> Any:
    """The model, or the error that says why it cannot be loaded."""
    try:
        return pickle.loads(content).to(device)
    except (AttributeError, ImportError) as error:
        return SettingError(
            f"a worker process cannot load the model ({error}); each class and function in it must "
            "be in a file that can be imported, not in a notebook, in `python -c`, or under "
            "`if __name__ == '__main__':`"
        )
    except Exception as error:  # of the device
        return _sendable(error)


def _answer(model: Any, content: bytes) -> Any:
    """What came of a piece of work: arrays, or an error."""
    try:
        if isinstance(model, Exception):
            raise model
        items, options = pickle.loads(content)
        size = options.batch_size
        return _as_arrays(
            loop.run(items, TorchRunner(model, options), Whole(len(items)), batch_size=size)
        )
    except Exception as error:
        return _sendable(error)


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same where it does not survive the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _settings(model: Any) -> list[Any]:
    """What may be set on the modules of a model, apart from their weights."""
    names = ("max_seq_length", "do_lower_case", "include_prompt", "pooling_mode", "default_route")
    return [
        [type(module).__name__, *(repr(getattr(module, name, None)) for name in names)]
        for module in model
    ]


def _as_arrays(value: Any) -> Any:
    """Arrays in place of tensors, which would take a file handle each on their way."""
    return arrays.to_numpy(value) if isinstance(value, Tensor) else _inside(value, _as_arrays)


def _as_tensors(value: Any) -> Any:
    """Tensors in place of arrays."""
    is_array = hasattr(value, "__array_interface__")
    return torch.from_numpy(value) if is_array else _inside(value, _as_tensors)


def _inside(value: Any, change: Callable[[Any], Any]) -> Any:
    """A dict, list or tuple of changed parts; any other value as it is."""
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    return type(value)(map(change, value)) if isinstance(value, (list, tuple)) else value
