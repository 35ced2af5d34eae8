"""The options of `train`: one table for Python, the command line and run files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from sentune.checks import check_known
from sentune.errors import SettingError
from sentune.hub.usual import MODEL

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_BUDGET = re.compile(r"(\d+(?:\.\d+)?)([smhx])")


def _option(default: Any, words: str, kind: str = "text", group: str = "fix") -> Any:
    """A field with what a command line shows of it and how it reads it."""
    return field(default=default, metadata={"help": words, "kind": kind, "group": group})


# What of a candidate may be fixed: the fields of `racing.candidates.Candidate` but its steps.
OF_A_CANDIDATE = (
    *("loss", "loss_settings", "data_as", "data_settings", "batch_size"),
    *("learning_rate", "warmup", "weight_decay", "sampler", "anchor_weight"),
)
# What each training of a run file's `runs` says for itself.
OF_A_TRAINING = (*OF_A_CANDIDATE, "negatives", "epochs", "steps", "budget")


@dataclass(frozen=True)
class Settings:
    """All options of a training; None means that it is chosen.

    The help of each is beside it, for the command line too. Kinds: text, whole (a whole number of
    at least 1), number, list (of whole numbers), mapping, names (`new=old,...`), flag.
    """

    model: str = _option(MODEL, "folder or Hub id of the model to start from", group="what")
    output: str = _option("trained-model", "folder for the model and its report", group="what")
    dev: str | None = _option(None, "file of rows to choose by (default: split off)", group="what")
    test: str | None = _option(None, "file of rows for the final figure", group="what")
    split: str = _option("train", "split to read, if there are several", group="what")
    columns: dict[str, str] | None = _option(
        None, "columns to read, e.g. anchor=query,positive=doc", "names", "what"
    )
    label: str | None = _option(None, "column with the labels", group="what")
    skip_bad_rows: str | bool | None = _option(
        None, "file to write bad rows to, and go on", "place", "what"
    )
    data_format: str | None = _option(
        None, "what the files are, whatever their names", group="what"
    )
    encoding: str | None = _option(None, "of text files; detected if not given", group="what")
    dev_share: float | None = _option(None, "share of rows to choose by", "number", "what")
    test_share: float | None = _option(
        None, "share of rows for the final figure; 0 for none", "number", "what"
    )
    budget: str = _option(
        "auto",
        "what may be spent: a time (10m, 2h), or multiples of the training rows (3x)",
        group="what",
    )
    seed: int = _option(12, "of the split, the batches and the dropout", "whole", "what")
    loss: str | None = _option(None, "train with this loss")
    loss_settings: dict[str, Any] | None = _option(None, "its arguments, as JSON", "mapping")
    data_as: str | None = _option(None, "what the rows are turned into, e.g. 'pairs of a class'")
    data_settings: dict[str, Any] | None = _option(None, "arguments of that, as JSON", "mapping")
    epochs: float | None = _option(None, "passes over the training rows", "number")
    steps: int | None = _option(None, "steps of the optimizer, in place of epochs", "whole")
    stop_step: int | None = _option(None, "stop at this step of the schedule", "whole")
    batch_size: int | None = _option(None, "rows in a batch", "whole")
    learning_rate: float | None = _option(None, "highest learning rate", "number")
    warmup: float | None = _option(None, "share of the steps that warm up", "number")
    weight_decay: float | None = _option(None, "of the optimizer", "number")
    sampler: str | None = _option(None, "batch_sampler, no_duplicates or group_by_label")
    max_length: int | None = _option(None, "tokens of a text at most", "whole")
    prompts: dict[str, str] | None = _option(
        None, 'prompts before texts, as JSON with "query" and "document"', "mapping"
    )
    matryoshka: list[int] | None = _option(
        None, "widths at which embeddings may be truncated, e.g. 384,128,64", "list"
    )
    negatives: int | None = _option(None, "hard negatives to mine for each pair", "whole")
    anchors: int | None = _option(
        None,
        "other texts in each batch, whose embeddings are to stay as they are; 0 for none",
        "whole",
    )
    anchor_weight: float | None = _option(
        None, "price of moving these, in multiples of the loss of the task", "number"
    )
    folds: int | None = _option(
        None,
        "parts that are held out in turn; 1 for one part (default: by size and budget)",
        "whole",
    )
    runs: list[dict[str, Any]] | None = _option(
        None, "trainings whose weights are averaged, as JSON, each with its steps", "mappings"
    )
    lora: int | None = _option(None, "train an adapter of this rank and merge it", "whole")
    alpha: float | None = _option(
        None, "share of the trained weights in the result; the rest is the start", "number"
    )
    agreement: float | None = _option(
        None,
        "least agreement with the start on texts that are not of the task, 0 to 1; 0 for any",
        "number",
    )
    dtype: str = _option("auto", "auto, or float32 for exact numbers")
    device: str | None = _option(
        None, "where to compute: cpu or cuda (CUDA_VISIBLE_DEVICES chooses one)"
    )
    report_to: list[str] | None = _option(
        None, "trackers, e.g. tensorboard,wandb; those of tensorboard write to OUTPUT/logs", "words"
    )
    no_rows: bool | None = _option(
        None, "leave rows of the data out of the model's card", "flag", "after"
    )
    push: str | None = _option(
        None, "new repository on the Hub to upload the model and its card to", group="after"
    )
    push_private: bool | None = _option(
        None, "have that repository be seen by its owner only", "flag", "after"
    )

    def __post_init__(self) -> None:
        """Check what can be checked without the data."""
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise SettingError(f"{name} must be between {least:g} and {most:g}, got {value}")
        for name in ("epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SettingError(f"{name} must be above 0, got {value}")
        if self.epochs is not None and self.steps is not None:
            raise SettingError(f"give epochs ({self.epochs}) or steps ({self.steps}), not both")
        seconds_or_passes(self.budget)
        if self.push_private and self.push is None:
            raise SettingError("push_private is about the repository that push names; give push")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Settings from options by name, each brought to its type."""
        kinds = {one.name: one.metadata["kind"] for one in fields(cls)}
        for name in given:
            check_known("option", name, kinds)
        return cls(**{name: _read(name, value, kinds[name]) for name, value in given.items()})

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from their default."""
        defaults = {one.name: one.default for one in fields(self) if one.default is not MISSING}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}

    @property
    def fixed(self) -> dict[str, Any]:
        """What is fixed of the candidates."""
        found = {name: getattr(self, name) for name in OF_A_CANDIDATE}
        return {name: value for name, value in found.items() if value is not None}


_RANGES = (
    *(("dev_share", 0.01, 0.5), ("test_share", 0, 0.5), ("warmup", 0, 1), ("alpha", 0, 1)),
    *(("agreement", -1, 1), ("anchor_weight", 0, math.inf)),
    *(("weight_decay", 0, 1), ("seed", 0, 2**32 - 1)),
    *((name, 1, math.inf) for name in ("batch_size", "steps", "stop_step", "max_length")),
    *((name, 1, math.inf) for name in ("negatives", "lora", "folds")),
)


def seconds_or_passes(budget: str) -> tuple[float | None, float | None]:
    """A budget as seconds, or as multiples of the training rows; neither for "auto"."""
    if budget == "auto":
        return None, None
    found = _BUDGET.fullmatch(str(budget).strip().lower())
    if found is None or float(found[1]) <= 0:
        raise SettingError(
            f"budget must be a time as 90s, 10m or 2h, or multiples of the training rows as 3x, "
            f"got {budget!r}"
        )
    amount = float(found[1])
    return (None, amount) if found[2] == "x" else (amount * _UNITS[found[2]], None)


def _read(name: str, value: Any, kind: str) -> Any:
    """A value of an option as its type wants it."""
    if value is None:
        return None
    try:
        return _READERS[kind](value)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name} must be {_WORDS[kind]}, got {value!r}") from error


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value) or int(value) < 0:
        raise ValueError(value)
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        import json

        value = json.loads(value)
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return dict(value)


def _mappings(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        import json

        value = json.loads(value)
    return [_mapping(one) for one in value]


def _names(value: Any) -> dict[str, str]:
    """`new=old,...` or `name,...`, as a dict new -> old."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Mapping):
        pairs = [part.partition("=") for part in value]
        value = {new: old or new for new, _, old in pairs}
    return {str(new): str(old) for new, old in value.items()}


def _words(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    return [str(part).strip() for part in parts]


def _text(value: Any) -> str:
    if isinstance(value, (bool, Mapping, list)):
        raise TypeError(value)
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _place(value: Any) -> str | bool:
    return value if isinstance(value, bool) else _text(value)


_READERS = {
    "place": _place,
    "flag": _flag,
    "text": _text,
    "whole": _whole,
    "number": _number,
    "mapping": _mapping,
    "mappings": _mappings,
    "names": _names,
    "words": _words,
    "list": lambda value: [_whole(part) for part in _words(str(value).strip("[]"))],
}
_WORDS = {
    "text": "a text",
    "flag": "true or false",
    "whole": "a whole number",
    "number": "a number",
    "mapping": 'a JSON object, as {"name": 1}',
    "mappings": "a JSON list of objects",
    "names": "names as anchor=query,positive=doc",
    "words": "names with commas between them",
    "list": "whole numbers with commas between them",
}
