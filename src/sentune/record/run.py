"""What the card says of a training run: its data, loss, settings, log, time and hardware.

Only small facts are kept, never a dataset, a loss or a model.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from sentune.data.columns import named, portions
from sentune.errors import InputError
from sentune.record.words import clean, number

logger = logging.getLogger(__name__)

READ_ROWS = 100  # rows that the statistics are made of
_KEPT_ROWS = 5
_MOST_CHARACTERS = 300
_SOURCE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+|[\w.-]+)@([0-9a-f]{7,40})/")
# Settings that say where a run took place, not how; and secrets.
_NOT_SHOWN = re.compile(
    r".*(token|_dir|_url|run_name|resume_from_checkpoint).*|_.*"
    r"|(hub|trackio|log_level).*|push_to_hub|report_to|project|disable_tqdm"
)
# Settings that follow from others or from the machine; nobody changed them.
_DERIVED = {
    "prediction_loss_only",
    "accelerator_config",
    "ddp_broadcast_buffers",
    "dataloader_pin_memory",
    "do_eval",
    "use_cpu",
}

CountTokens = Callable[[list[str]], Sequence[int]]


@dataclass(frozen=True)
class Column:
    """A column of a dataset.

    Args:
        name: Its name.
        kind: What its cells are.
        about: Statistics of its first rows.
    """

    name: str
    kind: str
    about: str


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
        columns: What its columns are.
        rows: The first rows, texts shortened.
        loss: What is trained on it.
    """

    name: str
    hub_id: str | None = None
    revision: str | None = None
    size: int | None = None
    columns: tuple[Column, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    loss: LossFacts | None = None


@dataclass
class Run:
    """A training run.

    Args:
        train: What was trained on.
        eval: What the loss was measured on.
        changed: Settings that are not as they are by default.
        settings: All settings.
        log: What the trainer logged, a dict per entry with `epoch` and `step`.
        saved_step: The step whose model is kept; None for the last.
        seconds: How long it took.
        hardware: What it ran on.
        tokens: How many tokens were read.
    """

    train: list[DatasetFacts] = field(default_factory=list)
    eval: list[DatasetFacts] = field(default_factory=list)
    changed: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    saved_step: int | None = None
    seconds: float | None = None
    hardware: str | None = None
    tokens: int | None = None

    @property
    def losses(self) -> list[LossFacts]:
        """The losses, each once."""
        found = {repr(data.loss): data.loss for data in self.train if data.loss is not None}
        return list(found.values())

    @property
    def size(self) -> int:
        """Rows of all training datasets."""
        return sum(data.size or 0 for data in self.train)


def facts_of_loss(loss: Any) -> LossFacts:
    """What the card says of a loss.

    Args:
        loss: The loss; its `settings()` or `get_config_dict()` give what it was made with.
    """
    tell: Any = getattr(loss, "settings", None) or getattr(loss, "get_config_dict", dict)
    inner = getattr(loss, "loss", None)
    citation = getattr(loss, "citation", None)
    return LossFacts(
        type(loss).__name__,
        dict(tell()),
        facts_of_loss(inner) if inner is not None else None,
        citation if isinstance(citation, str) else None,
    )


def facts_of_data(
    data: Any, losses: Any = None, count: CountTokens | None = None
) -> list[DatasetFacts]:
    """What the card says of one dataset, or of a dict of them.

    Args:
        data: A dataset, a dict of datasets, or None.
        losses: What is trained on it: a loss, or dataset name -> loss.
        count: Texts -> tokens of each.
    """
    found: list[DatasetFacts] = []
    for name, one in ({} if data is None else named(data)).items():
        loss = losses.get(name) if hasattr(losses, "keys") else losses
        found.append(_facts(name, one, None if loss is None else facts_of_loss(loss), count))
    return found


def settings_shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that are for other people's eyes: no paths, names or tokens.

    Args:
        settings: Name -> value.
    """
    return {
        name: Path(value).name if isinstance(value, str) and os.path.isabs(value) else value
        for name, value in settings.items()
        if not _NOT_SHOWN.fullmatch(name)
    }


def changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not as they are by default.

    Args:
        settings: Name -> value.
        defaults: The same where nothing is set.
    """
    return {
        name: value
        for name, value in settings.items()
        # None, False and nothing at all are ways to say the same.
        if name not in _DERIVED and (value or None) != (defaults.get(name, value) or None)
    }


def emissions(measured: Any) -> dict[str, Any]:
    """What codecarbon measured, under the names that the Hub reads.

    Args:
        measured: Its `EmissionsData`; kilograms of CO2, seconds, kilowatt hours.
    """
    found = {
        "emissions": measured.emissions * 1000,  # grams
        "energy_consumed": measured.energy_consumed,
        "source": "codecarbon",
        "training_type": "fine-tuning",
        "on_cloud": measured.on_cloud == "Y",
        "cpu_model": measured.cpu_model,
        "ram_total_size": measured.ram_total_size,
        "hours_used": round(measured.duration / 3600, 3),
        "hardware_used": measured.gpu_model,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def hardware() -> str:
    """The processor and accelerators of this machine, in words."""
    words = f"{_processor()}, {os.cpu_count()} cores"
    if not torch.cuda.is_available():
        return words
    cards = Counter(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return ", ".join([*(f"{count} x {name}" for name, count in cards.items()), words])


def _facts(name: str, data: Any, loss: LossFacts | None, count: CountTokens | None) -> DatasetFacts:
    hub_id, revision = _origin(data)
    try:
        cells = next(iter(portions(data, READ_ROWS)), {})
        size = len(data) if hasattr(data, "__len__") else None
        columns = tuple(_column(column, values, count) for column, values in cells.items())
    except (InputError, TypeError, ValueError, LookupError, OSError) as error:
        # A stream that has begun, a loader that gives its rows once: training has them, not we.
        logger.debug("the rows of the dataset %r cannot be shown: %s", name, error)
        cells, size, columns = {}, None, ()
    short = {column: [_short(v) for v in values[:_KEPT_ROWS]] for column, values in cells.items()}
    rows = tuple(dict(zip(short, row, strict=True)) for row in zip(*short.values(), strict=True))
    return DatasetFacts(name, hub_id, revision, size, columns, rows, loss)


def _origin(data: Any) -> tuple[str | None, str | None]:
    """Id and commit on the Hub, as the `datasets` library notes them."""
    info = getattr(data, "info", None)
    for source in islice(getattr(info, "download_checksums", None) or (), 10):
        if match := _SOURCE.match(str(source)):
            return match[1], match[2]
    return None, None


def _column(name: str, values: Sequence[Any], count: CountTokens | None) -> Column:
    first = next((value for value in values if value is not None), None)
    if isinstance(first, str):
        texts = [value for value in values if isinstance(value, str)]
        lengths = [len(text) for text in texts] if count is None else list(count(texts))
        unit = "characters" if count is None else "tokens"
        return Column(name, "text", f"{_spread(lengths)} {unit}")
    if isinstance(first, (int, float)):
        numbers = [value for value in values if isinstance(value, (int, float))]
        kinds = Counter(numbers)
        if all(isinstance(value, int) for value in numbers) and len(kinds) <= 10:
            shares = (f"{value}: {kinds[value] / len(numbers):.0%}" for value in sorted(kinds))
            return Column(name, "number", ", ".join(shares))
        return Column(name, "number", _spread(numbers))
    if isinstance(first, (list, tuple)):
        lengths = [len(value) for value in values if isinstance(value, (list, tuple))]
        return Column(name, "list", f"{_spread(lengths)} entries")
    return Column(name, type(first).__name__, "")


def _spread(values: Iterable[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = number(min(finite)), number(max(finite))
    return f"{low} to {high}, on average {fmean(finite):.4g}"


def _short(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    return clean(value, _MOST_CHARACTERS) if isinstance(value, str) else clean(value, 80)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
