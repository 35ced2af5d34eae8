"""A job: which corpus, which model, which settings, and where to. Its manifest says all of it.

The manifest is written first, and once. Whoever finds it does a part of the same job, or is
refused. It holds no times and nothing of the machine, so that equal jobs have equal manifests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sentune._version import __version__
from sentune.bulk import shards
from sentune.bulk.compute import PRECISIONS, Encoder
from sentune.bulk.storage import Storage, storage_at
from sentune.checks import check_sizes, one_of
from sentune.data import corpus_files
from sentune.data.corpus import SHARD_ROWS, Corpus
from sentune.encoder.identity import identity
from sentune.encoder.load import load
from sentune.encoder.runner import Options, check_width
from sentune.errors import DatasetError, SettingError
from sentune.vectors.quantize import ranges_of

MANIFEST = "manifest.json"
COMPLETE = "complete.json"
_VERSION = 1
_CALIBRATION = 10_000  # texts at the start of the corpus that ranges of int8 and uint8 come from


@dataclass(frozen=True)
class Settings:
    """How texts become embeddings, and embeddings files.

    Attributes:
        format: "parquet", or "npy" with all but the embeddings in Parquet files beside them.
        prompt_name: Name of a prompt of the model to put before each text.
        prompt: A prompt; wins over its name.
        task: Route of a routed model: "query" or "document".
        precision: "float32", "float16", or "int8", "uint8", "binary", "ubinary".
        truncate_dim: Keep this many dimensions; None for what the model says.
        normalize: Whether each embedding is brought to length 1.
        batch_size: Texts per forward pass; None to choose by tokens, for speed.

    Raises:
        SettingError: If one is out of range.
    """

    format: Literal["parquet", "npy"] = "parquet"
    prompt_name: str | None = None
    prompt: str | None = None
    task: str | None = None
    precision: str = "float32"
    truncate_dim: int | None = None
    normalize: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        one_of("format", self.format, shards.FORMATS)
        one_of("precision", self.precision, PRECISIONS)
        check_sizes(truncate_dim=self.truncate_dim, batch_size=self.batch_size)


@dataclass(frozen=True)
class CorpusOptions:
    """How a corpus is read: the arguments of `Corpus.open`."""

    text: str | None = None
    id: str | None = None
    per: Literal["line", "file"] = "line"
    shard_rows: int = SHARD_ROWS
    split: str | None = None


class Job:
    """A job whose manifest is written. Made by `Job.start` and `Job.open`.

    Attributes:
        storage: Where shards go.
        corpus: Where texts come from.
        manifest: What the job is.
    """

    def __init__(
        self, storage: Storage, corpus: Corpus, manifest: Mapping[str, Any], model: Any = None
    ) -> None:
        self.storage, self.corpus, self.manifest = storage, corpus, dict(manifest)
        self._model = model
        self._encoder: Encoder | None = None

    @classmethod
    def start(
        cls,
        source: str | Path,
        model: Any,
        output: str | Path,
        settings: Settings | None = None,
        reading: CorpusOptions | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> Job:
        """The job with this manifest, which is written if it is new.

        Args:
            source: A corpus, as for `Corpus.open`.
            model: A `SentenceTransformer`, or its folder or id.
            output: A folder, or an address as `s3://bucket/folder`.
            settings: How to encode.
            reading: How to read the corpus.
            dtype: Of the model, where it is loaded here.
            device: Where it is then.

        Raises:
            SettingError: If another job is in the output; the message says what differs.
            DatasetError: As `Corpus.open` says.
        """
        settings, reading = settings or Settings(), reading or CorpusOptions()
        storage = storage_at(output)
        known = _manifest_in(storage)
        if known is None:
            _check_new(storage)
        # With a document per file, the output is not read; who has begun so may go on.
        is_new = known is None or reading.per == "line"
        if is_new and corpus_files.holds(source, storage.address):
            why = "would be read" if reading.per == "line" else "would count"
            raise SettingError(
                f"{storage.shown} is in {source}, and {why} as a part of it; give another "
                "folder for the output"
            )
        plan = None if known is None else known["corpus"]
        corpus = Corpus.open(source, **asdict(reading), plan=plan)
        is_name = isinstance(model, (str, Path))
        loaded = load(model, dtype=dtype, device=device) if is_name else model
        if known is None and hasattr(loaded, "encode"):
            check_width(loaded, settings.truncate_dim)
        wanted = _described(loaded, _name_of(model), settings, corpus, dtype)
        job = cls(storage, corpus, wanted, loaded)
        if known is None:  # of several who start it at once, the first one's counts
            wanted["ranges"] = job._ranges()
            known = json.loads(storage.once(MANIFEST, _as_json(wanted)))
        _compare(known, wanted, storage.shown)
        job.manifest = known
        return job

    @classmethod
    def open(cls, output: str | Path, source: str | Path | None = None, model: Any = None) -> Job:
        """The job whose manifest is in a folder.

        Args:
            output: The folder, or address.
            source: Where the corpus is now; None for where it was.
            model: Where the model is now, or the model; None for where it was.

        Raises:
            SettingError: If there is no manifest.
        """
        storage = storage_at(output)
        manifest = _manifest_in(storage)
        if manifest is None:
            raise SettingError(f"{storage.shown} has no {MANIFEST}; start a job with Job.start")
        place = manifest["corpus"]["source"] if source is None else source
        corpus = Corpus.of_plan(place, manifest["corpus"])
        return cls(storage, corpus, manifest, model)

    @property
    def format(self) -> str:
        """Of the shards."""
        return str(self.manifest["settings"]["format"])

    @property
    def model(self) -> Any:
        """The model, or where it is."""
        return self.manifest["model"]["name"] if self._model is None else self._model

    @property
    def schema(self) -> Any:
        """A `pyarrow.Schema` of the rows of the output."""
        width, dtype = self.manifest["output"]["dimension"], self.manifest["output"]["dtype"]
        return shards.schema_of(self.corpus.schema, np.dtype(dtype), width)

    def is_done(self, number: int) -> bool:
        """Whether a shard of output is there."""
        return all(map(self.storage.has, shards.files_of(number, self.format)))

    def missing(self) -> list[int]:
        """The numbers of the shards of output that are not there."""
        names = self.storage.names()
        numbers = range(len(self.corpus.shards))
        return [n for n in numbers if not names.issuperset(shards.files_of(n, self.format))]

    def encoder(self, devices: tuple[str, ...] = ()) -> Encoder:
        """What encodes its texts; the model is loaded once.

        Args:
            devices: Where to compute; several start a process each, within a `with` block.

        Raises:
            SettingError: If the model is not the one of the manifest.
        """
        about, known = self.manifest["settings"], self.manifest["model"]
        if self._model is None or isinstance(self._model, (str, Path)):
            if not self.model:
                raise SettingError(
                    f"the job in {self.storage.shown} was started with a model in memory; give it, "
                    "or its folder, as Job.open(..., model=...)"
                )
            device = devices[0] if devices else None
            self._model = load(self.model, dtype=known["dtype"], device=device)
            _compare(self.manifest, _with_model(self.manifest, self._model), self.storage.shown)
        return Encoder(
            self._model, _options(about), about["precision"], self._known_ranges(), devices
        )

    def own_encoder(self) -> Encoder:
        """As `encoder()`, made once."""
        if self._encoder is None:
            self._encoder = self.encoder()
        return self._encoder

    def _known_ranges(self) -> np.ndarray | None:
        ranges = self.manifest.get("ranges")
        return None if ranges is None else np.asarray(ranges, dtype=np.float32)

    def _ranges(self) -> list[list[float]] | None:
        """Of int8 and uint8, from texts at the start of the corpus."""
        about = self.manifest["settings"]
        if about["precision"] not in ("int8", "uint8"):
            return None
        texts: list[str] = []
        for one in self.corpus:
            if one.text is not None:
                texts.append(one.text)
            if len(texts) == _CALIBRATION:
                break
        if len(texts) < 2:
            raise DatasetError(
                f"precision {about['precision']!r} needs the range of the embeddings of several "
                "texts, and the corpus has fewer than 2; use float32"
            )
        with Encoder(self._model, _options(about)) as encoder:
            embeddings, _ = encoder.rows(texts)
        found: list[list[float]] = ranges_of(embeddings).tolist()
        return found


def _described(
    model: Any, name: str, settings: Settings, corpus: Corpus, dtype: str | None
) -> dict[str, Any]:
    """The manifest, without ranges."""
    if not hasattr(model, "encode"):
        raise SettingError(f"{name} scores pairs of texts and gives no embeddings; use an encoder")
    about = asdict(settings)
    prompt = model._prompt(settings.prompt, about.pop("prompt_name"))
    about |= {"prompt": prompt, "truncate_dim": settings.truncate_dim or model.truncate_dim}
    with Encoder(model, _options(about)) as encoder:
        width = encoder.floats(["text"]).shape[1]
    is_bits = settings.precision.endswith("binary")
    numbers = {"binary": "int8", "ubinary": "uint8"}.get(settings.precision, settings.precision)
    manifest = {
        "sentune": __version__,
        "version": _VERSION,
        "model": {"name": name, "hash": "", "dtype": dtype},
        "settings": about,
        "output": {"dimension": -(-width // 8) if is_bits else width, "dtype": numbers},
        "ranges": None,
        "corpus": {"source": corpus.source, **corpus.plan},
    }
    return _with_model(manifest, model)


def _with_model(manifest: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The manifest of the same job with another model."""
    return {
        **manifest,
        "model": {**manifest["model"], "hash": identity(model)},
        "settings": {**manifest["settings"], "multiplies_in": _dtype_of(model)},
    }


def _name_of(model: Any) -> str:
    """Where a model can be loaded from; nothing if it is given itself."""
    if not isinstance(model, (str, Path)):
        return ""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_dir() else str(model)


def _options(about: Mapping[str, Any]) -> Options:
    return Options(
        prompt=about["prompt"],
        batch_size=about["batch_size"],
        truncate_dim=about["truncate_dim"],
        normalize=about["normalize"],
        task=about["task"],
    )


def _dtype_of(model: Any) -> str:
    """What the model multiplies in."""
    return str(model.autocast_dtype or model.dtype).removeprefix("torch.")


def _check_new(storage: Storage) -> None:
    """Refuse a folder without a manifest that has what a job left."""
    names = storage.names()
    left = "shards" if any(name.startswith("shard-") for name in names) else COMPLETE
    if left == "shards" or COMPLETE in names:
        raise SettingError(
            f"{storage.shown} has {left} but no {MANIFEST}, so it is not known of which job; give "
            "another folder, or delete what is left of that job"
        )


def _manifest_in(storage: Storage) -> dict[str, Any] | None:
    if not storage.has(MANIFEST):
        return None
    try:
        found = json.loads(storage.read(MANIFEST))
    except ValueError:
        found = None
    if not isinstance(found, dict) or "sentune" not in found:
        raise SettingError(
            f"{storage.shown}/{MANIFEST} is no manifest of a job: it is damaged, or of another "
            "program; put the right one back, or give another folder"
        )
    if found.get("version") != _VERSION:
        raise SettingError(
            f"{storage.shown}/{MANIFEST} is of another version of sentune "
            f"({found.get('sentune')}); give another folder"
        )
    parts = [found.get(name) for name in ("model", "settings", "output", "corpus")]
    is_whole = all(isinstance(part, dict) for part in parts)
    if not is_whole or not {"asked", "files", "shards"} <= found["corpus"].keys():
        raise SettingError(
            f"{storage.shown}/{MANIFEST} is damaged: a part of it is missing; put the right one "
            "back, or give another folder"
        )
    return found


def _compare(known: Mapping[str, Any], wanted: Mapping[str, Any], address: str) -> None:
    """Raise if a job is another one than the one that is there."""
    wanted = json.loads(_as_json(wanted))
    found = [
        *_differences("model", known["model"], wanted["model"], ("hash",)),
        *_differences("", known["settings"], wanted["settings"], tuple(known["settings"])),
        *_differences("", _read_as(known), _read_as(wanted), _READ_AS),
        *_changed_files(known["corpus"]["files"], wanted["corpus"]["files"]),
    ]
    if found:
        raise SettingError(
            f"{address} holds another job: {'; '.join(found)}. Give the same settings to go on "
            "with it, or another folder for a new one"
        )


_READ_AS = ("text", "id", "per", "split", "shard_rows")


def _read_as(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How a corpus is read: the columns that were chosen, and what was asked for."""
    corpus = manifest["corpus"]
    split = corpus["asked"].get("split") or "train"  # older manifests say train
    return {**corpus["asked"], "text": corpus["text"], "id": corpus["id"], "split": split}


def _differences(
    label: str, known: Mapping[str, Any], wanted: Mapping[str, Any], names: tuple[str, ...]
) -> list[str]:
    return [
        f"{label or name} was {_shown(known, name)} and is {_shown(wanted, name)}"
        for name in names
        if known.get(name) != wanted.get(name)
    ]


def _shown(about: Mapping[str, Any], name: str) -> str:
    if name == "hash":
        return f"{about['name'] or 'a model'} ({about['hash'][:8]})"
    return repr(about.get(name))


def _changed_files(known: list[list[Any]], wanted: list[list[Any]]) -> list[str]:
    before, now = ({name: rest for name, *rest in files} for files in (known, wanted))
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    words = (("are gone", gone), ("are new", new), ("have changed", changed))
    return [
        f"files of the corpus {what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for what, names in words
        if names
    ]


def _as_json(manifest: Mapping[str, Any]) -> bytes:
    """The manifest, with a line for each setting, file and shard."""
    return (_laid(manifest, 0) + "\n").encode()


def _laid(value: Any, depth: int) -> str:
    lines: list[str] = []
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_laid(part, depth + 1)}" for key, part in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], list):
        lines = [json.dumps(row, ensure_ascii=False) for row in value]
    if not lines:
        return json.dumps(value, ensure_ascii=False)
    first, last = "{}" if isinstance(value, dict) else "[]"
    inner = ",\n".join(" " * (depth + 1) + line for line in lines)
    return f"{first}\n{inner}\n{' ' * depth}{last}"
