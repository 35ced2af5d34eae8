"""One contestant, kept ready: does what it is told and says how long it took.

    python benchmarks/speed_worker.py LIBRARY FOLDER_OF_DATA

Reads one JSON object per line from standard input (a job), writes one per line to standard output
(seconds, real tokens, peak memory). Each contestant has a process of its own, so that
none pays for what another has loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

from speed_tasks import OWN, TEXTS, take

_models: dict[tuple[Any, ...], Any] = {}
_best: dict[tuple[Any, ...], int] = {}
_texts: dict[str, Any] = {}


def main() -> None:
    library, data = sys.argv[1], Path(sys.argv[2])
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is not an answer
    for line in sys.stdin:
        job = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            answer = {"train": train, "encode": encode}[job["kind"]](library, data, job)
        _give_back_memory()  # the others run while this process waits
        out.write(json.dumps(answer) + "\n")
        out.flush()


def train(library: str, data: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds per step of a training, without the steps that warm it up."""
    from datasets import Dataset
    from transformers import TrainerCallback, set_seed

    kit = _kit(library)
    # No row twice, neither in a step nor in a round, since a training that lasts sees batches of
    # other sizes all the time. Both libraries have the same batches, drawn by the same seed.
    steps, turn = job["warm_up"] + job["steps"], job.get("turn", 0)
    rows = job["batch_size"] * steps
    columns = {
        name: take(texts, (turn + 1) * rows)[-rows:]
        for name, texts in _cached_texts(job["texts"], data).items()
    }
    set_seed(1)
    model = _new_model(library, job)
    loss = getattr(kit["losses"], job["loss"])(model, **job.get("loss_settings", {}))
    precision = {None: {}, "float32": {"bf16": False}, "bfloat16": {"bf16": True}}[job["dtype"]]
    if library != OWN and job["dtype"] is None:
        precision = {}

    class Clock(TrainerCallback):
        """When each step ended; what is done for a step before it begins counts as well."""

        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.ends.append(time.perf_counter())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            _wait()
            self.ends.append(time.perf_counter())

    clock = Clock()
    with TemporaryDirectory() as folder:
        trainer = kit["trainer"](
            model=model,
            args=kit["arguments"](
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=job["batch_size"],
                learning_rate=5e-5,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_strategy="no",
                seed=1,
                **({"use_cpu": True} if not _has_cuda() else {}),
                **precision,
            ),
            train_dataset=Dataset.from_dict(columns),
            loss=loss,
            callbacks=[clock],
        )
        with _peak_memory() as peak:
            trainer.train()
    seconds = (clock.ends[-1] - clock.ends[job["warm_up"]]) / job["steps"]
    tokens = _tokens(columns, job) * job["batch_size"]
    return {"seconds": seconds, "tokens": tokens, "peak": peak[0]}


def encode(library: str, data: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds to encode texts."""
    texts = take(_cached_texts(job["texts"], data), job["count"])
    model = _kept_model(library, job)
    options = {"show_progress_bar": False}
    if job["encode_batch_size"] == 0:
        options["batch_size"] = best_batch_size(model, texts, job)
    elif job["encode_batch_size"]:
        options["batch_size"] = job["encode_batch_size"]
    model.encode(texts[:64], **options)
    with _peak_memory() as peak:
        started = time.perf_counter()
        model.encode(texts, **options)
        seconds = time.perf_counter() - started
    tokens = sum(_lengths(texts, job))
    return {"seconds": seconds, "tokens": tokens, "peak": peak[0], **options}


def best_batch_size(model: Any, texts: list[str], job: dict[str, Any]) -> int:
    """The batch size with which a sample of the texts is encoded fastest."""
    key = (job["model"], job["dtype"], job["texts"])
    if key not in _best:
        sample = texts[:: max(1, len(texts) // 256)]
        times = {}
        for size in (8, 16, 32, 64, 128, 256):
            model.encode(sample[:size], batch_size=size, show_progress_bar=False)
            started = time.perf_counter()
            model.encode(sample, batch_size=size, show_progress_bar=False)
            times[size] = time.perf_counter() - started
        _best[key] = min(times, key=times.__getitem__)
    return _best[key]


def _kit(library: str) -> dict[str, Any]:
    from quality import own_library, peer_library

    return own_library() if library == OWN else peer_library()


def _new_model(library: str, job: dict[str, Any]) -> Any:
    """A model of its own, its weights in float32: to be trained."""
    model = _kit(library)["model"](job["model"])
    model.max_seq_length = job["max_seq_length"]
    return model


def _kept_model(library: str, job: dict[str, Any]) -> Any:
    key = (job["model"], job["dtype"])
    if key not in _models:
        _models.clear()  # one at a time
        options = {} if job["dtype"] is None else {"model_kwargs": {"dtype": job["dtype"]}}
        if library != OWN and job["dtype"] is not None:
            import torch

            options = {"model_kwargs": {"dtype": getattr(torch, job["dtype"])}}
        # Nothing else of the library: who only encodes imports no more.
        package = import_module("sentune" if library == OWN else "sentence_transformers")
        _models[key] = package.SentenceTransformer(job["model"], **options)
    _models[key].max_seq_length = job["max_seq_length"]
    return _models[key]


def _cached_texts(name: str, data: Path) -> Any:
    if name not in _texts:
        _texts[name] = TEXTS[name](data)
    return _texts[name]


def _lengths(texts: list[str], job: dict[str, Any]) -> list[int]:
    """Real tokens of each text, counted without either library, which would have to load for it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(job["model"]) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(job["max_seq_length"])
    return [len(encoding) for encoding in tokenizer.encode_batch(texts)]


def _tokens(columns: dict[str, list[Any]], job: dict[str, Any]) -> float:
    """Real tokens of a row, all columns together, on average."""
    texts = [column for column in columns.values() if isinstance(column[0], str)]
    return sum(sum(_lengths(column, job)) / len(column) for column in texts)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _wait() -> None:
    if _has_cuda():
        import torch

        torch.cuda.synchronize()


def _give_back_memory() -> None:
    """Return to the system what earlier work has left behind."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextlib.contextmanager
def _peak_memory() -> Any:
    """Most memory of the process inside the block, in bytes; on CUDA that of the device."""
    _give_back_memory()
    peak = [0]
    if _has_cuda():
        import torch

        torch.cuda.reset_peak_memory_stats()
        yield peak
        peak[0] = torch.cuda.max_memory_allocated()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    yield peak
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        peak[0] = int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
