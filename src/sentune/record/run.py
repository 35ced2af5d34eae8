"""What a run did, as plain data that goes to JSON and back.

`record.facts` fills it; the words that people read are made of it in `share`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from sentune.data.statistics import Column
from sentune.disk import files
from sentune.errors import InputError
from sentune.folders.folder import read_json

FILE = "run.json"
VERSION = 1  # of the file; one with another is refused
_LATER = {"note", "beside"}  # which files of the first releases do not have
_NOT_FINITE = "$float"  # JSON has neither NaN nor infinities


@dataclass(frozen=True)
class LossFacts:
    """A loss."""

    name: str  # of its class
    settings: Mapping[str, Any]
    inner: LossFacts | None = None  # the loss inside it
    citation: str | None = None  # BibTeX that it brings itself

    def nested(self) -> list[LossFacts]:
        """This loss and those inside it, the outer one first."""
        return [self, *(self.inner.nested() if self.inner else ())]


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset."""

    name: str  # among the datasets of a run; "" for the only one
    hub_id: str | None = None
    revision: str | None = None  # commit on the Hub
    size: int | None = None  # rows; None where that is not known
    read: int = 0  # rows that the statistics are of
    columns: tuple[Column, ...] = ()  # statistics
    rows: tuple[list[Any], ...] = ()  # the first ones, a list of cells each, texts shortened
    loss: LossFacts | None = None  # what is trained on it


@dataclass(frozen=True)
class Result:
    """What an evaluator found."""

    kind: str  # of evaluation, in words
    name: str  # of the data
    metrics: Mapping[str, float]  # without the name in front
    primary: str | None = None  # the metric that counts
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the evaluator
    epoch: float = -1  # -1 outside of training, as the step
    step: int = -1
    beside: Mapping[str, float] = field(default_factory=dict)  # to compare with, not of the model


@dataclass
class Run:
    """A training run."""

    train: list[DatasetFacts] = field(default_factory=list)
    eval: list[DatasetFacts] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # all but secrets and places
    changed: list[str] = field(default_factory=list)  # names of those that are not the default
    log: list[dict[str, Any]] = field(default_factory=list)  # each with `epoch` and `step`
    results: list[Result] = field(default_factory=list)  # of evaluators, while it went on
    steps: int | None = None  # of the optimizer
    saved_step: int | None = None  # the step whose model is kept; None for the last
    seconds: float | None = None
    tokens: int | None = None  # that were read
    hardware: dict[str, Any] | None = None  # processor, cores, accelerators: name -> how many
    emissions: dict[str, Any] | None = None  # what the Hub reads as `co2_eq_emissions`
    versions: dict[str, str] = field(default_factory=dict)  # of packages
    note: str = ""  # what else there is to say of it, in sentences

    @property
    def losses(self) -> list[LossFacts]:
        """The losses, each once."""
        found = {repr(data.loss): data.loss for data in self.train if data.loss is not None}
        return list(found.values())

    @property
    def size(self) -> int:
        """Rows of all training datasets."""
        return sum(data.size or 0 for data in self.train)

    def logged(self, name: str) -> list[float]:
        """All values that were logged under a name, as "loss", in order."""
        return [entry[name] for entry in self.log if name in entry]

    def to_dict(self) -> dict[str, Any]:
        """The run as plain values; `from_dict` gives it back."""
        return dict(json.loads(self.to_json()))

    def to_json(self) -> str:
        """The run as JSON; `from_json` gives it back."""
        return json.dumps({"version": VERSION, **_encoded(self)}, indent=2, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """A run as `to_json` wrote it; an `InputError` says if it is something else, or too new."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"this is not the record of a run: {error!r}") from error

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Run:
        """A run as `to_dict` gave it; an `InputError` as of `from_json`."""
        try:
            version = found["version"]
            if version == VERSION:
                return _built(cls, _decoded(found))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise InputError(f"this is not the record of a run: {error!r}") from error
        raise InputError(
            f"the record of the run has version {version!r}, and this sentune reads {VERSION}; "
            "a newer sentune may read it"
        )

    def write(self, folder: str | Path) -> None:
        """Write `run.json` into a folder, atomically."""
        files.write(Path(folder, FILE), self.to_json().encode())


def runs_in(path: Path) -> list[Run]:
    """The runs that a `run.json` records: its own, or those behind a result of `sentune train`.

    Raises:
        InputError: If it is the record of something else, or of a newer sentune.
        ModelFileError: If it cannot be read.
    """
    found = read_json(path, dict)
    if "kind" not in found:
        return [Run.from_dict(found)]
    runs = found.get("runs") or []
    if not isinstance(runs, list):
        raise InputError(f"{path}: 'runs' must be a list")
    return [Run.from_dict(one) for one in runs]


def _encoded(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _encoded(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {name: _encoded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_NOT_FINITE: str(value)}
    return value


def _decoded(value: Any) -> Any:
    """What `_encoded` was given, from what JSON made of it."""
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    is_number = value.keys() == {_NOT_FINITE} and value[_NOT_FINITE] in ("nan", "inf", "-inf")
    if is_number:
        return float(value[_NOT_FINITE])
    return {name: _decoded(part) for name, part in value.items()}


def _built(kind: Any, value: Any) -> Any:
    """A value of a type, from what JSON made of it."""
    origin, kinds = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin is UnionType:  # or None
        return _built(kinds[0], value)
    if origin in (list, tuple):
        return origin(_built(kinds[0], part) for part in value)
    if origin is dict and kinds[0] is int:
        return {json.loads(name): part for name, part in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind).items()
        known = {n: part for n, part in hints if n in value or n not in _LATER}
        return kind(**{n: _built(part, value[n]) for n, part in known.items()})
    return value
