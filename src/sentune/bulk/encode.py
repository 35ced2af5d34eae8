"""A corpus -> shards of embeddings: all of it, a share of it, or one shard.

Output shard n is made of input shard n alone, in batches that depend on nothing else. It is
there when it is whole. So processes need not know of each other: each does what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import torch

from sentune.bulk import shards
from sentune.bulk.compute import Encoder
from sentune.bulk.job import COMPLETE, CorpusOptions, Job, Settings
from sentune.bulk.share import Share
from sentune.data.corpus import SHARD_ROWS, Corpus, Document
from sentune.encoder.runner import warning_at_end
from sentune.machine.device import checked
from sentune.machine.screen import Progress

# Rows of a shard that are encoded and written at a time: the most, and the most characters.
_ROWS = 16_384
_CHARACTERS = 16_000_000
_READERS = 16  # threads that look into finished shards


class Summary(NamedTuple):
    """What a job has come to.

    Attributes:
        output: Where the shards are.
        shards: How many there are to be.
        missing: The numbers of those that are not there.
        rows: Embeddings in the shards that this call wrote.
        failed: Texts of these that could not be encoded; `shard-*.errors.jsonl` names them.
        dimension: Of an embedding in the output.
    """

    output: str
    shards: int
    missing: list[int]
    rows: int
    failed: int
    dimension: int


class Done(NamedTuple):
    """What came of a shard.

    Attributes:
        number: Of the shard.
        rows: Embeddings in it.
        failed: Texts of it that could not be encoded.
    """

    number: int
    rows: int
    failed: int


def encode_corpus(
    source: str | Path,
    model: Any,
    output: str | Path,
    *,
    text: str | None = None,
    id: str | None = None,
    per: Literal["line", "file"] = "line",
    shard_rows: int = SHARD_ROWS,
    split: str | None = None,
    format: Literal["parquet", "npy"] = "parquet",
    prompt_name: str | None = None,
    prompt: str | None = None,
    task: str | None = None,
    precision: str = "float32",
    truncate_dim: int | None = None,
    normalize_embeddings: bool = False,
    batch_size: int | None = None,
    dtype: str | None = None,
    device: str | Sequence[str] | None = None,
    share: Share | None = None,
    progress: TextIO | None = None,
) -> Summary:
    """Embeddings of all texts of a corpus, in shards; what is there already is not done again.

    Killed at any time and called again, it goes on with the first shard that is missing. The
    output is then the same, byte by byte, as of a call that was not killed, on the same machine
    and device.

    Args:
        source: A file or folder of any format that `sentune.data.corpus.Corpus.open` reads, or an
            address as `s3://bucket/folder`.
        model: A `SentenceTransformer`, or its folder or id.
        output: A folder, or an address. It gets `manifest.json`, `shard-00000.parquet` ..., for
            texts that cannot be encoded `shard-00000.errors.jsonl`, and last `complete.json`.
        text: Column with the texts; None for "text", else the first text column.
        id: Column with the ids; None for "id" or "_id", if its values differ.
        per: "file" reads each text file of a folder as one document.
        shard_rows: Rows of a shard at most.
        split: Which part of a saved `DatasetDict`, or of a folder whose files are named by their
            parts; None as `Corpus.open` says.
        format: "parquet" with the columns id, text, metadata and embedding; "npy" has the
            embeddings in `shard-00000.npy` and the other columns in `shard-00000.rows.parquet`.
        prompt_name: Name of a prompt of the model.
        prompt: A prompt.
        task: Route of a routed model.
        precision: "float32", "float16", "int8", "uint8", "binary" or "ubinary". Ranges of int8
            and uint8 come from the first 10,000 texts, and are kept in the manifest.
        truncate_dim: Keep this many dimensions.
        normalize_embeddings: Whether each embedding is brought to length 1.
        batch_size: Texts per forward pass; None to choose by tokens, for speed.
        dtype: Of the model, where it is given by name: "auto", "float32", "bfloat16", "float16".
        device: Where to compute; several start a process each, "cpu" as often as it is named.
        share: Do only these shards; None for those of RANK and WORLD_SIZE, which torchrun sets,
            else all.
        progress: Where to show how far it is.

    Returns:
        What is there and what is not, and how many texts of this call failed.

    Raises:
        SettingError: If another job is in the output; the message says what differs.
        DatasetError: If the corpus cannot be read.
        OutputError: If the disk is full; the shards that are there stay whole.

    Example:
        >>> encode_corpus("texts.jsonl", "all-MiniLM-L6-v2", "out")  # doctest: +SKIP
    """
    settings = Settings(
        format=format,
        prompt_name=prompt_name,
        prompt=prompt,
        task=task,
        precision=precision,
        truncate_dim=truncate_dim,
        normalize=normalize_embeddings,
        batch_size=batch_size,
    )
    reading = CorpusOptions(text, id, per, shard_rows, split)
    devices = devices_of(device)
    first = devices[0] if devices else None
    job = Job.start(source, model, output, settings, reading, dtype, first)
    return run(job, devices=devices, share=share, progress=progress)


def run(
    job: Job,
    *,
    devices: tuple[str, ...] = (),
    share: Share | None = None,
    progress: TextIO | None = None,
) -> Summary:
    """The shards of a share of a job that are missing, and the last file if none is missing then.

    Args:
        job: The job.
        devices: Where to compute.
        share: Which shards; None for those of RANK and WORLD_SIZE, else all.
        progress: Where to show how far it is.
    """
    share = Share.of_environment() if share is None else share
    todo = share.of(job.missing())
    done: list[Done] = []
    if todo:
        with (
            warning_at_end(),
            job.encoder(devices) as encoder,
            closing(_Watch(job, todo, progress)) as watch,
        ):
            done = [encode_shard(job, n, encoder, count=watch.of(n)) for n in todo]
    return summary_of(job, done, finish(job))


def summary_of(job: Job, done: Sequence[Done], missing: list[int]) -> Summary:
    """What a job has come to: the shards that were done now, and those that are missing."""
    rows, failed = sum(one.rows for one in done), sum(one.failed for one in done)
    width = int(job.manifest["output"]["dimension"])
    total = len(job.corpus.shards)
    return Summary(job.storage.address, total, missing, rows, failed, width)


def encode_shard(
    job: Job,
    number: int,
    encoder: Encoder | None = None,
    count: Callable[[int], object] = lambda rows: None,
) -> Done:
    """One shard of a job: the piece of work of whatever distributes it.

    Any process can do any shard at any time; who does one that is there does nothing. Two that do
    the same one at the same time write the same bytes.

    Args:
        job: The job, of `Job.open(output)`.
        number: Of the shard, below `len(job.corpus.shards)`.
        encoder: Of `job.encoder(...)`; None for one on the best device, which the job keeps.
        count: Called with the number of rows of each batch that is done.

    Raises:
        OutputError: If the disk is full.
    """
    if job.is_done(number):
        rows = shards.count_rows(job.storage, number, job.format)
        return Done(number, rows, job.corpus.shards[number].rows - rows)
    encoder = job.own_encoder() if encoder is None else encoder
    about = json.dumps({"shard": number, "model": job.manifest["model"]["hash"]})
    problems: list[tuple[str, str]] = []
    written = 0
    with shards.writing(job.storage, number, job.format, job.schema, about) as shard:
        with _Behind(shard.put) as put:
            for portion in _portions(job.corpus, number):
                good, embeddings, bad = _encoded(portion, encoder, count)
                problems += bad
                if good:
                    put(good, embeddings)
                    written += len(good)
        # Before the shard is there; so that whoever finds it finds these, too.
        shards.write_errors(job.storage, number, problems)
    return Done(number, written, len(problems))


def finish(job: Job) -> list[int]:
    """Write `complete.json`, which says what is in each shard, if all shards are there.

    Returns:
        The numbers of the shards that are missing.
    """
    missing = job.missing()
    if missing:
        return missing
    if job.storage.has(COMPLETE):
        return []
    numbers = range(len(job.corpus.shards))
    with ThreadPoolExecutor(_READERS) as readers:  # of object storage each one takes a while
        rows = list(readers.map(lambda n: shards.count_rows(job.storage, n, job.format), numbers))
    read = [shard.rows for shard in job.corpus.shards]
    failed = [before - after for before, after in zip(read, rows, strict=True)]
    about = {
        "rows": sum(rows),
        "failed": sum(failed),
        "shards": [
            {"file": shards.name_of(n, job.format), "rows": r, "failed": f}
            for n, (r, f) in enumerate(zip(rows, failed, strict=True))
        ],
    }
    with job.storage.writing(COMPLETE) as file:
        file.write((json.dumps(about, indent=1) + "\n").encode())
    return []


def totals(job: Job) -> tuple[int, int]:
    """How many embeddings a complete job has, and how many texts failed."""
    about = json.loads(job.storage.read(COMPLETE))
    return about["rows"], about["failed"]


def devices_of(device: str | Sequence[str] | None) -> tuple[str, ...]:
    """The devices as a tuple, empty for the best there is.

    A process that torchrun started has the GPU of its LOCAL_RANK, where there are GPUs.

    Raises:
        SettingError: If there is no such device here.
    """
    if device is None:
        rank = os.environ.get("LOCAL_RANK")
        return () if rank is None or not torch.cuda.is_available() else (f"cuda:{rank}",)
    names = (device,) if isinstance(device, str) else device
    return tuple(checked(str(name)) for name in names)


def _encoded(
    portion: Sequence[Document], encoder: Encoder, count: Callable[[int], object]
) -> tuple[list[Document], Any, list[tuple[str, str]]]:
    """The documents that can be encoded, their rows, and the ids of the others with the reasons."""
    readable = [one for one in portion if one.text is not None]
    count(len(portion) - len(readable))
    if not readable:
        return [], None, [(one.id, str(one.problem)) for one in portion]
    embeddings, failed = encoder.rows([str(one.text) for one in readable], count)
    reasons = {id(readable[place]): why for place, why in failed.items()}
    good = [one for one in readable if id(one) not in reasons]
    bad = [
        (one.id, reasons.get(id(one)) or str(one.problem))
        for one in portion
        if one.text is None or id(one) in reasons
    ]
    return good, embeddings, bad


class _Behind:
    """Calls a function in a thread, so that one portion is written while the next is encoded."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sentune-write")
        self._running: Future[object] | None = None

    def __call__(self, *args: Any) -> None:
        self._wait()
        self._running = self._thread.submit(self._function, *args)

    def __enter__(self) -> _Behind:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._running is not None:
            self._running.result()


def _portions(corpus: Corpus, number: int) -> Iterator[list[Document]]:
    """The documents of a shard, in portions that depend on nothing but the shard.

    The next one is read in a thread while one is encoded.
    """
    stream = corpus.shard(number)
    with ThreadPoolExecutor(1, thread_name_prefix="sentune-corpus") as reader:
        coming = reader.submit(_portion, stream)
        while portion := coming.result():
            coming = reader.submit(_portion, stream)
            yield portion


def _portion(stream: Iterator[Document]) -> list[Document]:
    found: list[Document] = []
    characters = 0
    for one in islice(stream, _ROWS):
        found.append(one)
        characters += len(one.text or "")
        if characters >= _CHARACTERS:
            break
    return found


class _Watch:
    """Shows how many rows of the shards to do are done."""

    def __init__(self, job: Job, todo: Sequence[int], file: TextIO | None) -> None:
        self._sizes = {number: job.corpus.shards[number].rows for number in todo}
        total = sum(self._sizes.values())
        self._bar = None if file is None else Progress("Encoding", total, "texts", file)
        self._before = self._within = self._begun = 0
        self._number: int | None = None

    def of(self, number: int) -> Callable[[int], object]:
        """What counts the rows of a shard."""
        if self._number is not None:  # its rows may have been counted more or less than once
            self._before += self._sizes[self._number]
        self._number, self._within = number, 0
        self._begun += 1
        return self._count

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()

    def _count(self, rows: int) -> None:
        size = self._sizes[self._number or 0]
        self._within = min(self._within + rows, size)
        if self._bar is not None:
            words = f"shard {self._begun:,} of {len(self._sizes):,}"
            self._bar.show(self._before + self._within, words)
