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

FILE = "run.json"
VERSION = 1  # of the file; one with another is refused
_NOT_FINITE = "$float"  # JSON has neither NaN nor infinities


@dataclass(frozen=True)
class LossFacts:
    """A loss.

    Args:
        name: Its class.
        settings: Name -> value.
        inner: The loss inside it, if there is one.
        citation: BibTeX that it brings itself.
    """

    name: str
    settings: Mapping[str, Any]
    inner: LossFacts | None = None
    citation: str | None = None

    def nested(self) -> list[LossFacts]:
        """This loss and those inside it, the outer one first."""
        return [self, *(self.inner.nested() if self.inner else ())]


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset.

    Args:
        name: Its name among the datasets of a run; "" for the only one.
        hub_id: Its id on the Hub, if it is from there.
        revision: Commit on the Hub.
        size: How many rows it has; None where nobody knows.
        read: How many rows the statistics are of.
        columns: Statistics of its columns.
        rows: The first rows, a list of cells each, texts shortened.
        loss: What is trained on it.
    """

    name: str
    hub_id: str | None = None
    revision: str | None = None
    size: int | None = None
    read: int = 0
    columns: tuple[Column, ...] = ()
    rows: tuple[list[Any], ...] = ()
    loss: LossFacts | None = None


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Args:
        kind: The kind of evaluation, in words.
        name: Of the data.
        metrics: Metric -> value, without the name in front.
        primary: The metric that counts.
        settings: Of the evaluator.
        epoch: When it was; -1 outside of training.
        step: After how many steps; -1 outside of training.
    """

    kind: str
    name: str
    metrics: Mapping[str, float]
    primary: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    epoch: float = -1
    step: int = -1


@dataclass
class Run:
    """A training run.

    Args:
        train: What was trained on.
        eval: What the loss was measured on.
        settings: All settings, but those that are nobody else's business.
        changed: Names of those that are not as they are by default.
        log: What the trainer logged, a dict per entry with `epoch` and `step`.
        results: What evaluators found while it went on.
        steps: How many steps of the optimizer were made.
        saved_step: The step whose model is kept; None for the last.
        seconds: How long it took.
        tokens: How many tokens were read.
        hardware: What it ran on: `processor`, `cores`, `accelerators`: name -> how many.
        emissions: What the Hub reads as `co2_eq_emissions`.
        versions: Package -> version.
    """

    train: list[DatasetFacts] = field(default_factory=list)
    eval: list[DatasetFacts] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    steps: int | None = None
    saved_step: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    hardware: dict[str, Any] | None = None
    emissions: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)

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

    def to_json(self) -> str:
        """The run as JSON; `from_json` gives it back."""
        return json.dumps({"version": VERSION, **_encoded(self)}, indent=2, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """A run as `to_json` wrote it.

        Raises:
            InputError: If it is something else, or of a version that is not known.
        """
        try:
            found = json.loads(text, object_hook=_decoded)
            version = found["version"]
            if version == VERSION:
                return _built(cls, found)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(f"this is not the record of a run: {error!r}") from error
        raise InputError(
            f"the record of the run has version {version!r}, and this sentune reads {VERSION}; "
            "a newer sentune may read it"
        )

    def write(self, folder: str | Path) -> None:
        """Write `run.json` into a folder, atomically."""
        files.write(Path(folder, FILE), self.to_json().encode())


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


def _decoded(found: dict[str, Any]) -> Any:
    is_number = found.keys() == {_NOT_FINITE} and found[_NOT_FINITE] in ("nan", "inf", "-inf")
    return float(found[_NOT_FINITE]) if is_number else found


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
        return kind(**{n: _built(part, value[n]) for n, part in get_type_hints(kind).items()})
    return value
