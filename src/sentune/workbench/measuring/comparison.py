"""Several models on the same held-out rows, side by side, and which differences are real."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from sentune.disk import files
from sentune.errors import MissingDependencyError, SettingError
from sentune.machine.screen import table

REPORT, RECORD = "report.html", "run.json"
_WIDTH = 100
_LONGEST_HEAD = 20


@dataclass(frozen=True)
class ModelFigure:
    """The figure of one model and its bootstrap interval; `width` is that of its embeddings."""

    name: str
    path: str
    figure: float
    low: float
    high: float
    width: int | None


@dataclass(frozen=True)
class Difference:
    """How much better `second` is than `first` on the same rows, and how sure that is.

    Attributes:
        first: Name of a model.
        second: Name of the other.
        gain: Figure of the second less that of the first.
        low: Lower end of the interval that holds 95% of the rounds of a paired bootstrap.
        high: Upper end.
    """

    first: str
    second: str
    gain: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero, so that chance hardly explains the difference."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> str:
        """It in a word or two."""
        if not self.is_real:
            return "no real difference"
        return "better" if self.gain > 0 else "worse"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**vars(self), "is_real": self.is_real}


@dataclass(frozen=True)
class Comparison:
    """What `sentune.workbench.evaluate` finds.

    Attributes:
        models: As they were named, with their figures.
        differences: Of each model to the first; and of the best to each of the others.
        metric: What the figures are, as "Spearman".
        explanation: What it says, in a sentence.
        rows: How many rows were measured.
        source: Where they are from.
        form: Their form, in words.
        notes: What was done to the rows, and what a reader of the figures should know.
        record: All of it and more as plain values, what `report.html` and `run.json` are made of.
    """

    models: tuple[ModelFigure, ...]
    differences: tuple[Difference, ...]
    metric: str
    explanation: str
    rows: int
    source: str
    form: str
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def best(self) -> ModelFigure:
        """The model with the highest figure; of equal ones, the first."""
        return max(self.models, key=lambda model: model.figure)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "metric": self.metric,
            "explanation": self.explanation,
            "form": self.form,
            "rows": self.rows,
            "source": self.source,
            "models": [dict(vars(model)) for model in self.models],
            "differences": [one.to_dict() for one in self.differences],
            "best": self.best.name,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = table(self._head(), list(self._rows())).splitlines()
        shown = "\n".join(line.rstrip() for line in lines)
        blocks = [self._about(), shown, *self._conclusion()]
        notes = [f"note: {note}" for note in self.notes]
        return "\n\n".join([*blocks, *(["\n".join(map(_wrapped, notes))] if notes else [])])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self._head())
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        said = [self._about(), *self._conclusion(), *self.notes]
        words = "".join(f"<p>{escape(text)}</p>" for text in said)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{words}"

    def _about(self) -> str:
        return (
            f"{_wrapped(f'{self.rows:,} rows of {self.source}: {self.form}')}\n"
            f"{_wrapped(f'{self.metric}: {self.explanation}; higher is better')}"
        )

    def _head(self) -> list[str]:
        metric = self.metric if len(self.metric) <= _LONGEST_HEAD else "figure"
        first = ["model", metric, "95% interval"]
        return (
            first if len(self.models) == 1 else [*first, f"difference to {self.models[0].name}", ""]
        )

    def _rows(self) -> Iterator[list[str]]:
        to_first = {one.second: one for one in self.differences if one.first == self.models[0].name}
        for model in self.models:
            cells = [model.name, f"{model.figure:.4f}", f"{model.low:.3f} to {model.high:.3f}"]
            found = to_first.get(model.name)
            if found is not None:
                span = f"{found.gain:+.4f} ({found.low:+.3f} to {found.high:+.3f})"
                cells += [span, found.verdict]
            yield cells if len(self.models) == 1 or found is not None else [*cells, "", ""]

    def _conclusion(self) -> Iterator[str]:
        """What the table says, in a sentence or two."""
        if len(self.models) == 1:
            return
        best = self.best
        lead = next((one for one in self.differences if one.second == best.name), None)
        against = lead if best is not self.models[0] else self._nearest_to_first()
        if against is None:
            return
        other = against.first if against.second == best.name else against.second
        size = abs(against.gain)
        ends = sorted(abs(end) for end in (against.low, against.high))
        if not size:
            text = f"{best.name} and {other} do equally well on these rows."
        elif against.is_real:
            text = (
                f"{best.name} is better than {other} by {size:.4f}; chance alone hardly explains "
                f"that ({ends[0]:.3f} to {ends[1]:.3f} in 95% of the draws)."
            )
        else:
            text = (
                f"{best.name} has the highest figure, but these {self.rows:,} rows do not show "
                f"that it is better than {other}: the difference of {size:.4f} can be chance."
            )
        yield _wrapped(text)

    def _nearest_to_first(self) -> Difference | None:
        """The difference to the best of the others, where the first is the best of all."""
        others = [one for one in self.differences if one.first == self.models[0].name]
        return max(others, key=lambda one: one.gain, default=None)

    def report(self) -> str:
        """A page of it, one HTML file; where none can be made, a short one that says why.

        Raises:
            MissingDependencyError: If the extra `report` is not installed.
        """
        from sentune.report.document import missing, page_or_reason

        if reason := missing():
            raise MissingDependencyError(reason)
        return page_or_reason(self.record)[0]

    def write(self, folder: str | Path) -> Path:
        """Write `report.html` and `run.json` into a folder, atomically; gives the page's path.

        Raises:
            MissingDependencyError: If the extra `report` is not installed; `run.json` is written.
            SettingError: If the folder has the record of a training.
        """
        check_folder(folder)
        text = json.dumps(self.record, ensure_ascii=False, indent=2, default=str)
        files.write(Path(folder, RECORD), f"{text}\n".encode())
        path = Path(folder, REPORT)
        files.write(path, self.report().encode())
        return path


def check_folder(folder: str | Path) -> None:
    """Refuse a folder with the record of something else, which would be replaced.

    Raises:
        SettingError: If it is one, as the folder of a trained model.
    """
    path = Path(folder, RECORD)
    if not path.is_file():
        return
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("kind")
    except (ValueError, AttributeError):
        kind = None
    if kind != "evaluate":
        raise SettingError(
            f"{folder} has the record of a training, {RECORD}, which that of the evaluation would "
            "replace; choose another folder with --output"
        )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def short_names(paths: Sequence[str]) -> list[str]:
    """Names for models: the last part of a folder's path where that says which is meant."""
    names = [path if not Path(path).is_dir() else Path(path).resolve().name for path in paths]
    unclear = {name for name in names if names.count(name) > 1}
    chosen = [path if name in unclear else name for path, name in zip(paths, names, strict=True)]
    found: list[str] = []
    for name in chosen:
        number = found.count(name) + sum(one.startswith(f"{name} (") for one in found)
        found.append(f"{name} ({number + 1})" if number else name)
    return found
