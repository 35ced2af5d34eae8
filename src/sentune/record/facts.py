"""What a run is recorded from: its data, losses, settings and machine, as plain values.

Only small facts are kept, never a dataset, a loss or a model; no secrets and no absolute paths.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from sentune._version import __version__
from sentune.data.columns import named
from sentune.data.statistics import CountTokens, Summary, size_of, summary
from sentune.errors import InputError
from sentune.record.run import DatasetFacts, LossFacts, Result
from sentune.record.words import clean

logger = logging.getLogger(__name__)

READ_ROWS = 100  # rows that the statistics are made of
_MOST_CHARACTERS = 300
_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate")
_SOURCE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+|[\w.-]+)@([0-9a-f]{7,40})/")
# Settings that say where a run took place, not how; and secrets.
_NOT_SHOWN = re.compile(
    r".*(token|_dir|_url|run_name|resume_from_checkpoint).*|_.*"
    r"|(hub|trackio|log_level).*|push_to_hub|report_to|project|disable_tqdm"
)
_SECRET = re.compile(r"(?i).*(secret|password|credential|(api|access|auth|hub)_?(key|token))")
# Settings that follow from others or from the machine; the user did not change them.
_DERIVED = (
    "prediction_loss_only accelerator_config ddp_broadcast_buffers dataloader_pin_memory "
    "do_eval use_cpu"
).split()


def facts_of_loss(loss: Any) -> LossFacts:
    """What is recorded of a loss."""
    tell: Any = getattr(loss, "settings", None) or getattr(loss, "get_config_dict", dict)
    inner = getattr(loss, "loss", None)
    citation = getattr(loss, "citation", None)
    return LossFacts(
        type(loss).__name__,
        plain_values(dict(tell())),
        facts_of_loss(inner) if inner is not None else None,
        citation if isinstance(citation, str) else None,
    )


def result_of(evaluator: Any, metrics: Mapping[str, Any], epoch: float, step: int) -> Result:
    """What is recorded of an evaluation."""
    name = str(getattr(evaluator, "name", "") or "")
    start = f"{name}_" if name else ""
    primary = getattr(evaluator, "primary_metric", None)
    tell = getattr(evaluator, "get_config_dict", dict)
    kind = getattr(evaluator, "description", None) or type(evaluator).__name__
    values = {
        metric.removeprefix(start): float(value)
        for metric, value in metrics.items()
        if isinstance(value, (int, float))
    }
    primary = primary.removeprefix(start) if isinstance(primary, str) else None
    settings = plain_values(dict(tell() or {}))
    return Result(str(kind), name, values, primary, settings, epoch, step)


def facts_of_data(
    data: Any, losses: Any = None, count: CountTokens | None = None
) -> list[DatasetFacts]:
    """What is recorded of one dataset, or of a dict of them; losses likewise, by dataset name."""
    return [
        _facts(name, one, losses.get(name) if hasattr(losses, "keys") else losses, count)
        for name, one in ({} if data is None else named(data)).items()
    ]


def facts_of_settings(
    settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The settings of a run that others may see, and the names of those that were changed."""
    shown = {name: value for name, value in settings.items() if not _NOT_SHOWN.fullmatch(name)}
    if shown.get("warmup_ratio") is not None:
        shown.pop("warmup_steps", None)  # the same once more
    plain = plain_values(shown)
    changed = [
        name
        for name in plain
        # None, False and nothing at all are ways to say the same.
        if (shown[name] or None) != (defaults.get(name, shown[name]) or None)
        and name not in _DERIVED
    ]
    return plain, changed


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON holds them, without secrets; of a path only the last part."""
    return _shown({str(name): _as_data(value) for name, value in values.items()})


def emissions(measured: Any) -> dict[str, Any]:
    """What codecarbon measured, its `EmissionsData`, under the names and units of the Hub."""
    found = {
        "emissions": measured.emissions * 1000,  # kilograms to grams
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


def hardware() -> dict[str, Any]:
    """The processor, its cores and the accelerators of this machine."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = Counter(torch.cuda.get_device_name(place) for place in range(count))
    return {"processor": _processor(), "cores": os.cpu_count(), "accelerators": dict(cards)}


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide what a run gives."""
    found = {"Python": platform.python_version(), "sentune": __version__}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _facts(name: str, data: Any, loss: Any, count: CountTokens | None) -> DatasetFacts:
    try:
        found, size = summary(data, READ_ROWS, count), size_of(data)
    except (InputError, TypeError, ValueError, LookupError, OSError) as error:
        # A stream that has begun, a loader that gives its rows once: those are for training.
        logger.debug("the rows of the dataset %r cannot be shown: %s", name, error)
        found, size = Summary(), None
    columns = tuple(found.columns.values())
    rows = tuple([_short(cell) for cell in row] for row in found.first)
    known = None if loss is None else facts_of_loss(loss)
    return DatasetFacts(name, *_origin(data), size, found.rows, columns, rows, known)


def _origin(data: Any) -> tuple[str | None, str | None]:
    """Id and commit on the Hub, as the `datasets` library notes them."""
    info = getattr(data, "info", None)
    for source in islice(getattr(info, "download_checksums", None) or (), 10):
        if match := _SOURCE.match(str(source)):
            return match[1], match[2]
    return None, None


def _short(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    return clean(value, _MOST_CHARACTERS if isinstance(value, str) else 80)


def _as_data(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError):  # keys that are no strings, a list inside itself
        return str(value)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items() if not _SECRET.match(name)}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    # "/query: " is not taken for a path.
    is_path = isinstance(value, str) and os.path.isabs(value) and len(Path(value).parts) > 2
    return Path(value).name if is_path else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
