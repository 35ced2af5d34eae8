"""A corpus -> shards of embeddings on many machines, by Ray Data.

What is handed out are the numbers of shards. A worker, one per device, loads the model once and
writes shards itself, to storage that all machines see; the driver hands out, counts, and says at
the end that all is there. So whatever dies can be started again: a shard is there, or is done.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sentune._lazy import need
from sentune._version import __version__
from sentune.bulk.encode import Done, Summary, encode_shard, finish, summary_of
from sentune.bulk.job import MANIFEST, CorpusOptions, Job, Settings
from sentune.bulk.storage import storage_at
from sentune.checks import check_sizes, one_of
from sentune.data.corpus_files import absolute, is_remote
from sentune.errors import SentuneError, SettingError, WorkersDiedError
from sentune.machine.screen import Progress

_LOG = logging.getLogger(__name__)
_MOST_DEATHS = 3  # workers that die on one shard, which then is taken to be what kills them
# Seconds between looks at storage: a file server may show new files a minute late.
_PAUSES = (0, 1, 2, 4, 8, 16, 32)
_KINDS = {"cpu": "CPU", "cuda": "GPU"}
_DRIVER = "the process that hands out work"
_COLUMNS = ("shard", "rows", "failed", "where")
_UNSEEN = (
    "{what}, written by {where}, is not seen by {by} in {output}: the machines do not share it. "
    "Give a folder on a file server that all of them mount at this path, or an address as "
    "s3://bucket/folder"
)


def encode_on_ray(
    source: str | Path,
    model: Any,
    output: str | Path,
    settings: Settings | None = None,
    reading: CorpusOptions | None = None,
    *,
    address: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
    progress: TextIO | None = None,
) -> Summary:
    """Embeddings of all texts of a corpus, in shards, by the machines of a Ray cluster.

    The output is that of `encode_corpus`, byte by byte where the devices are of one kind and have
    the same number of threads. A worker or machine that is lost costs the shards that it was at;
    when the driver is lost, the same call again goes on with the shards that are missing.

    Args:
        source: A corpus, which all machines see at this path or address.
        model: A `SentenceTransformer`, or its id, or its folder, which all machines see.
        output: A folder that all machines see, or an address as `s3://bucket/folder`.
        settings: How to encode.
        reading: How to read the corpus.
        address: Of the cluster; None for the one that this process is in or that runs on this
            machine, else as "local", which is a new one of this machine alone.
        workers: Processes that encode; None for one per GPU, or where there is none one per
            machine. More than there is room for start when machines come.
        device: "cuda" or "cpu"; None for "cuda" if a machine of the cluster has a GPU.
        dtype: Of the model, where it is given by name.
        progress: Where to show how far it is.

    Raises:
        MissingDependencyError: If Ray is not installed.
        SettingError: If the cluster cannot be reached or has no such device, if machines do not
            see the same output, or if another job is in it.
        WorkersDiedError: If several workers in a row die on a shard.

    Example:
        >>> encode_on_ray("s3://b/texts", "all-MiniLM-L6-v2", "s3://b/out")  # doctest: +SKIP
    """
    with connected(address, workers, device) as cluster:
        job = cluster.start(source, model, output, settings, reading, dtype)
        return cluster.run(job, progress)


@contextmanager
def connected(
    address: str | None = None, workers: int | None = None, device: str | None = None
) -> Iterator[Cluster]:
    """A cluster, for the time of the block. The arguments are those of `encode_on_ray`."""
    check_sizes(workers=workers)
    if device is not None:
        one_of("device", device, tuple(_KINDS))
    ray = need("ray", extra="ray")
    need("ray.data", extra="ray")
    is_ours = not ray.is_initialized()
    if is_ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            _knock(address)
            ray.init(address, log_to_driver=False, logging_level="error")
        except (OSError, RuntimeError, ValueError) as error:
            raise SettingError(
                f"no Ray cluster can be reached at {address or 'this machine'} ({error}); start "
                "one with `ray start --head`, and give its address as HOST:6379"
            ) from error
    try:
        yield Cluster(ray, workers, device)
    finally:
        if is_ours:
            ray.shutdown()


class Cluster:
    """Machines that encode.

    Attributes:
        device: What workers compute on.
        workers: How many there are at most.
        needs: What Ray reserves for each.
    """

    def __init__(self, ray: Any, workers: int | None = None, device: str | None = None) -> None:
        self._ray = ray
        found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus, cpus = ([int(node.get(kind, 0)) for node in found] for kind in ("GPU", "CPU"))
        self.device = device or ("cuda" if any(gpus) else "cpu")
        if not any(gpus if self.device == "cuda" else cpus):
            raise SettingError(
                f"device={self.device!r}, and no machine of the cluster has a "
                f"{_KINDS[self.device]}; it has {sum(cpus)} CPUs and {sum(gpus)} GPUs in "
                f"{len(found)} machines"
            )
        self.workers = workers or (sum(gpus) if self.device == "cuda" else sum(map(bool, cpus)))
        is_cuda = self.device == "cuda"
        self.needs = {
            "num_cpus": 1 if is_cuda else _each(cpus, self.workers),
            "num_gpus": int(is_cuda),
        }

    def start(
        self,
        source: str | Path,
        model: Any,
        output: str | Path,
        settings: Settings | None = None,
        reading: CorpusOptions | None = None,
        dtype: str | None = None,
    ) -> Job:
        """As `Job.start`, by a machine that has the device, since types depend on it."""
        source, output = absolute(source), absolute(output)
        if isinstance(model, (str, Path)):
            path = Path(model).expanduser()
            model = absolute(path) if path.is_dir() else str(model)
        else:
            model = model.to("cpu")
        task = self._ray.remote(**self.needs)(_start)
        arguments = (source, model, output, settings, reading, dtype, self.device)
        with _own_errors(self._ray):
            where = self._ray.get(task.remote(__version__, *arguments))
        storage = storage_at(output)
        if not _soon(lambda: storage.has(MANIFEST)):
            raise SettingError(
                _UNSEEN.format(what=MANIFEST, where=where, by=_DRIVER, output=output)
            )
        return Job.open(output, source, model)

    def run(self, job: Job, progress: TextIO | None = None) -> Summary:
        """The shards of a job that are missing.

        Args:
            job: Of `start`.
            progress: Where to show how far it is.
        """
        todo = job.missing()
        done: list[Done] = []
        sizes = {number: job.corpus.shards[number].rows for number in todo}
        bar = None
        if todo and progress is not None:
            bar = Progress("Encoding", sum(sizes.values()), "texts", progress)
        try:
            with _own_errors(self._ray):
                for one in self._results(job, todo):
                    done.append(one)
                    if bar is not None:
                        bar.show(sum(sizes[one.number] for one in done))
        finally:
            if bar is not None:
                bar.close()
        return summary_of(job, done, finish(job))

    def _results(self, job: Job, todo: list[int]) -> Iterator[Done]:
        """What came of each shard, as they are done."""
        if not todo:
            return
        board = self._board()
        manifest = job.storage.read(MANIFEST)
        place, corpus = job.storage.address, job.corpus.source
        arguments = (place, corpus, job.model, manifest, self.device, board)
        with _settings_of_data(self._ray) as data:
            # Items of the driver: where tasks read them, they wait for ever for a CPU if the
            # workers have all.
            items = [{"shard": number} for number in todo]
            count = min(self.workers, len(todo))
            results = data.from_items(items, override_num_blocks=len(items)).map_batches(
                Worker,
                fn_constructor_args=(__version__, *arguments),
                batch_size=1,
                # From one on: when no shards are left to hand out, idle workers make room for one
                # whose machine was lost and whose shard waits for it.
                compute=data.ActorPoolStrategy(
                    min_size=1,
                    max_size=count,
                    initial_size=count,
                    max_tasks_in_flight_per_actor=1,
                ),
                **self.needs,
            )
            for batch in results.iter_batches(batch_size=None, prefetch_batches=0):
                self._warn(board)
                for number, rows, failed, where in zip(*map(batch.get, _COLUMNS), strict=True):
                    self._check_seen(job, int(number), str(where))
                    yield Done(int(number), int(rows), int(failed))

    def _board(self) -> Any:
        """A `Board` on the machine of the driver, which takes no CPU of the workers."""
        here = self._ray.get_runtime_context().get_node_id()
        place = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            here, soft=False
        )
        return self._ray.remote(num_cpus=0, scheduling_strategy=place)(Board).remote()

    def _warn(self, board: Any) -> None:
        for number, where in self._ray.get(board.news.remote()):
            _LOG.warning(
                "the worker on %s died at shard %d, which another one does again; the logs of Ray "
                "in /tmp/ray/session_latest/logs there say why",
                where,
                number,
            )

    def _check_seen(self, job: Job, number: int, where: str) -> None:
        if not _soon(lambda: job.is_done(number)):
            what = f"shard {number}"
            raise SettingError(
                _UNSEEN.format(what=what, where=where, by=_DRIVER, output=job.storage.address)
            )


class Worker:
    """Does shards on one device: an actor of Ray Data."""

    def __init__(self, version: str, *arguments: Any) -> None:
        self._version, self._arguments = version, arguments
        self._job: Job | None = None
        self._encoder: Any = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do a shard; `batch` has its number."""
        number = int(batch["shard"][0])
        board, where = self._arguments[-1], _here()
        if self._job is None:  # not earlier, since Ray tells of errors in calls only
            self._open(where)
        assert self._job is not None
        if not self._job.is_done(number):
            before = need("ray", extra="ray").get(board.begin.remote(number, where))
            if len(before) >= _MOST_DEATHS:
                raise WorkersDiedError(
                    f"workers died {len(before)} times at shard {number}, on {', '.join(before)}: "
                    "most often since memory runs out; the logs of Ray there say why. Smaller "
                    "batches or fewer workers per machine need less"
                )
        found = encode_shard(self._job, number, self._encoder)
        return dict(zip(_COLUMNS, ([value] for value in (*found, where)), strict=True))

    def _open(self, where: str) -> None:
        output, source, model, manifest, device, _ = self._arguments
        _check_version(self._version, where)
        storage = storage_at(output)
        if not _soon(lambda: storage.has(MANIFEST) and storage.read(MANIFEST) == manifest):
            raise SettingError(
                _UNSEEN.format(what=MANIFEST, where=_DRIVER, by=where, output=output)
            )
        job = Job.open(output, source, model)
        file = job.corpus.files[0]
        if not is_remote(file.address) and not Path(file.address).is_file():
            raise SettingError(
                f"{where} does not see {file.address}; give a folder that all machines see, or an "
                "address as s3://bucket/folder"
            )
        self._encoder = job.encoder((device,)).__enter__()
        self._job = job


class Board:
    """Who is at which shard: an actor that notices when a worker died, since Ray tells nobody."""

    def __init__(self) -> None:
        self._begun: dict[int, list[str]] = {}
        self._news: list[tuple[int, str]] = []

    def begin(self, number: int, where: str) -> list[str]:
        """Note that a shard is begun, and return where it was begun before and not ended."""
        before = self._begun.setdefault(number, [])
        others = [other for other in before if other != where]  # who tries again is not dead
        if where not in before:
            self._news += [(number, other) for other in others[-1:]]
            before.append(where)
        return others

    def news(self) -> list[tuple[int, str]]:
        """The shards that were begun again since the last call, and where they were before."""
        news, self._news = self._news, []
        return news


def _start(version: str, *arguments: Any) -> str:
    """Write the manifest, or compare it; where this was done."""
    where = _here()
    _check_version(version, where)
    Job.start(*arguments)
    return where


def _knock(address: str | None) -> None:
    """An OSError if nobody answers at HOST:PORT, which Ray itself would wait for for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=20).close()


def _here() -> str:
    ray = need("ray", extra="ray")
    return f"{ray.util.get_node_ip_address()} (process {os.getpid()})"


def _check_version(version: str, where: str) -> None:
    if version != __version__:
        raise SettingError(
            f"{where} has sentune {__version__}, and {_DRIVER} has {version}; install the same on "
            "all machines"
        )


def _soon(is_there: Callable[[], bool]) -> bool:
    """Whether something is there, or comes within a minute."""
    for seconds in _PAUSES:
        time.sleep(seconds)
        if is_there():
            return True
    return False


def _each(cpus: list[int], workers: int) -> int:
    """The most CPUs that each of so many workers can have, of machines that have so many."""
    for each in range(max(cpus), 1, -1):
        if sum(have // each for have in cpus) >= workers:
            return each
    return 1


@contextmanager
def _own_errors(ray: Any) -> Iterator[None]:
    """An error of sentune that Ray brings from another process, as it was raised there."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, SentuneError):
            raise error.cause from None
        raise


@contextmanager
def _settings_of_data(ray: Any) -> Iterator[Any]:
    """Ray Data, with settings that hold for what is started in the block."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    # Storage that many machines use at once is busy now and then.
    context.retried_map_errors = ["cannot be reached"]
    context.max_map_retries = 3
    # Workers are added while all have a shard, not when each has two.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    context.autoscaling_config.actor_pool_util_downscaling_threshold = 0.0
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with ray.data.DataContext.current(context):
            yield ray.data
    finally:
        log.setLevel(level)
