"""`sentune train`: a better model without choosing, or the start and the reason."""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from sentune.checks import check_known
from sentune.data.given import is_place
from sentune.encoder.identity import identity
from sentune.errors import HubError, SentuneWarning, SettingError
from sentune.hub.fetch import is_unreachable
from sentune.losses.fitting import check_loss
from sentune.machine.screen import duration, quiet_bars, quiet_libraries
from sentune.workbench import publishing
from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.racing.course import Course
from sentune.workbench.racing.fit_one import start_of
from sentune.workbench.records import run_file, saved, told
from sentune.workbench.records.kept import Kept, asked_in
from sentune.workbench.records.optional import optional
from sentune.workbench.records.origin import for_the_card
from sentune.workbench.records.run_file import RunFile
from sentune.workbench.records.telling import Teller
from sentune.workbench.rows import prepared, roles, several
from sentune.workbench.rows.prepared import Parts
from sentune.workbench.settings import OF_A_TRAINING, Settings


@dataclass(frozen=True)
class Result:
    """What came out of a training.

    Attributes:
        model_path: The folder with the model.
        kept: "trained" or "start".
        reason: Why, in a sentence.
        record: All of it, as plain values; also in `run.json`.
    """

    model_path: Path
    kept: str
    reason: str
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The record."""
        return self.record

    def __str__(self) -> str:
        return told.summary(self.record, self.model_path)


def train(
    data: Any = None,
    model: str | Path | None = None,
    output: str | Path | None = None,
    *,
    dev: Any = None,
    test: Any = None,
    loss: str | None = None,
    budget: str | None = None,
    seed: int | None = None,
    config: str | Path | None = None,
    resume: bool = False,
    progress: TextIO | None = None,
    **options: Any,
) -> Result:
    """Train a model on rows of text, with losses and settings that are tried out.

    Rows are held out, candidates are raced under a budget, the weights of the best are mixed with
    those of the start, and what is better by more than chance is kept; else the start is.

    Args:
        data: A file, several, a Hub id, a `datasets.Dataset`, a dict of lists or a list of dicts.
            Files with other columns, or a list of datasets, are trained on together, each with a
            loss for its form; what counts is the mean of their figures.
        model: Folder or Hub id of the model to start from; all-MiniLM-L6-v2 by default.
        output: Folder for the model, `run.json`, `run.yaml` and `report.html`; "trained-model" by
            default.
        dev: Rows to choose by, as `data`; by default they are split off.
        test: Rows for the final figure; by default they are split off.
        loss: Name of a loss, if it is not to be chosen.
        budget: A time ("10m"), or multiples of the training rows ("3x").
        seed: Of the split, the batches and the dropout; 12 by default.
        config: A run file with options; those that are given here count more.
        resume: Whether to go on with an unfinished run in `output`.
        progress: Where to say what goes on, as `sys.stderr`; None for nowhere.
        **options: The other fields of `sentune.workbench.settings.Settings`.

    Raises:
        DatasetError: If the data cannot be trained on or measured.
        SettingError: If an option is unknown or out of range.
        KeyboardInterrupt: After Ctrl-C, when the best so far is in `output`.

    Example:
        >>> result = train("questions.csv", output="my-model")  # doctest: +SKIP
        >>> print(result.kept, result.reason)  # doctest: +SKIP
    """
    named = {"model": model, "output": output, "loss": loss, "budget": budget, "seed": seed}
    given = {name: value for name, value in {**named, **options}.items() if value is not None}
    held_out = {name: rows for name, rows in (("dev", dev), ("test", test)) if rows is not None}
    job = _Job.of(data, given, held_out, config, resume=resume, progress=progress)
    with quiet_bars(), quiet_libraries():
        return job.run()


@dataclass
class _Job:
    """One run, from the options to the folder."""

    data: Any
    held_out: Mapping[str, Any]
    settings: Settings
    known: RunFile
    resume: bool
    teller: Teller

    @classmethod
    def of(
        cls,
        data: Any,
        given: Mapping[str, Any],
        held_out: Mapping[str, Any],
        config: str | Path | None,
        *,
        resume: bool,
        progress: TextIO | None,
    ) -> _Job:
        known = RunFile() if config is None else run_file.read(config)
        _check_runs(known.options, given)
        places = {name: str(rows) for name, rows in held_out.items() if is_place(rows)}
        options = {**known.options, **{n: _plain(value) for n, value in given.items()}, **places}
        output = Path(str(options.get("output", Settings.output))).expanduser()
        if resume:
            asked = asked_in(output)
            options = {**asked["options"], **options}
            data = asked["data"] or None if data is None else data
        data = (known.data or None) if data is None else data
        if data is None:
            raise SettingError(
                "name the data: a file, several, a dataset; or a run file that does, with --config"
            )
        settings = Settings.of(options)
        rows = {name: rows for name, rows in held_out.items() if not is_place(rows)}
        rows |= {n: place for n in ("dev", "test") if (place := getattr(settings, n)) is not None}
        return cls(data, rows, settings, known, resume, Teller(progress))

    def run(self) -> Result:
        """All of it."""
        began = time.monotonic()
        settings, teller, output = self.settings, self.teller, self._output()
        with _heard() as said:
            rows = self._rows()
            own = {name: part for name, part in rows.items() if name != "data"}
            datasets = several.in_parts_each(rows["data"], own, settings)
            start = Encoded(start_of(settings))
            hashes = self._hashes(start.model, rows)
            run_file.check_same(self.known, hashes)
            kept = self._kept(output, hashes)
        for one in datasets:
            said += [*one.notes, *roles.notes_of(start.model, one.rows["train"])]
        notes = list(dict.fromkeys(said))
        teller.say(_introduction(datasets, notes))
        course = Course(settings, datasets, start, notes, kept, teller, began)
        try:
            course.go()
        except Exception:
            if not kept.has_runs:
                kept.close()
            raise
        sources = self._sources(hashes, datasets)
        record = told.record(course, sources, self._command(), time.monotonic() - began)
        facts = optional(lambda: for_the_card(course, record), "the facts for its card", teller.say)
        record = saved.write(output, course.model, {**record, **facts}, _places(self.data), hashes)
        kept_is, reason = record["decision"]["kept"], record["decision"]["reason"]
        if course.is_stopped:
            raise KeyboardInterrupt(
                f"Stopped. {output} has {'the start' if kept_is == 'start' else 'the best so far'} "
                f"({reason}); go on with: sentune train --output {output} --resume"
            )
        kept.close()
        if settings.push is not None:
            teller.say(f"Uploaded to {_uploaded(output, settings)}")
        teller.say(f"Done in {duration(time.monotonic() - began)}.")
        return Result(output, kept_is, reason, record)

    def _output(self) -> Path:
        """The folder for the result, after a look at whether it can be written."""
        output = Path(self.settings.output).expanduser()
        saved.check_output(output)
        kind, _, number = (self.settings.device or "").partition(":")
        if kind == "cuda" and number not in ("", "0"):
            raise SettingError(
                f"training takes the first GPU that is visible, not {self.settings.device}; start "
                f"it with the variable CUDA_VISIBLE_DEVICES={number}, and without device"
            )
        # All this before minutes are spent on reading.
        _check_trackers(self.settings.report_to or [])
        if self.settings.loss is not None:
            check_loss(self.settings.loss)
        if Path(self.settings.model).expanduser().resolve() == output.resolve():
            raise SettingError(
                f"{output} is the model to start from, which would be replaced; choose another "
                "folder with --output"
            )
        if self.settings.push is not None:
            self._check_push(self.settings.push)
        return output

    def _check_push(self, name: str) -> None:
        """Raise if the Hub says now that it will not take the model."""
        try:
            publishing.check_free(name, private=self.settings.push_private)
        except HubError as error:
            if not is_unreachable(error):
                raise HubError(
                    f"{str(error).partition('; pass exist_ok')[0]}; nothing was trained. Choose "
                    "another name, or train without --push and then use `sentune push`"
                ) from error
            self.teller.say(f"note: whether {name} can be uploaded to is not known: {error}")

    def _kept(self, output: Path, hashes: Mapping[str, str]) -> Kept:
        asked = {
            "options": self.settings.given,
            "data": _places(self.data),
            "hashes": hashes,
            "versions": run_file.versions(),
        }
        return Kept.opened(output, asked, resume=self.resume)

    def _rows(self) -> dict[str, list[Any]]:
        """All rows: "data", and the held-out ones that are there already; of each dataset."""
        read = prepared.datasets_of
        found = {"data": read(self.data, self.settings)}
        for name, source in self.held_out.items():
            found[name] = prepared.rows_of_part(source, name, self.settings, read)
        return found

    def _hashes(self, model: Any, rows: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        """Of the model, of files, and of the rows of all that is no file."""
        found = {"model": identity(model)}
        for name, source in (("data", self.data), *self.held_out.items()):
            places = _places(source)
            files = [place for place in places if Path(place).expanduser().exists()]
            found |= {place: run_file.hash_of(place) for place in files}
            if len(files) < len(places) or not places:
                only = places[0] if len(places) == 1 else name
                each = [run_file.hash_of(one) for one in rows[name]]
                found[only] = each[0] if len(each) == 1 else run_file.hash_of({"rows": each})
        return found

    def _sources(
        self, hashes: Mapping[str, str], datasets: Sequence[Parts]
    ) -> list[dict[str, Any]]:
        names = _places(self.data) or ["data"]
        total = sum(sum(map(len, one.rows.values())) + one.dropped for one in datasets)
        count = total if len(names) == 1 else None
        return [{"name": name, "sha256": hashes.get(name), "rows": count} for name in names]

    def _command(self) -> str:
        words = ["sentune", "train", *(_places(self.data) or ["DATA"])]
        for name, value in self.settings.given.items():
            words += told.as_words(name, value)
        return shlex.join(words)


def _uploaded(output: Path, settings: Settings) -> str:
    """The address of the model on the Hub, after `sentune push` of it."""
    name, private = str(settings.push), settings.push_private
    try:
        address = publishing.push(output, name, private=private, has_rows=not settings.no_rows)
    except HubError as error:
        words = ["sentune", "push", str(output), name, *(["--private"] if private else [])]
        raise HubError(
            f"{error}. The model is complete in {output}; upload it with: {shlex.join(words)}"
        ) from error
    return str(address)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What the library warns of meanwhile, as sentences."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SentuneWarning)
        yield said
    said += [str(one.message) for one in found if issubclass(one.category, SentuneWarning)]


def _check_trackers(names: Sequence[str]) -> None:
    """Raise if transformers knows no tracker of such a name."""
    for name in names:
        check_known("tracker (report_to)", name, [*INTEGRATION_TO_CALLBACK, "all", "none"])


def _check_runs(known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise if options are given that the trainings which a run file lists would not follow."""
    unheard = [name for name in given if name in OF_A_TRAINING]
    if known.get("runs") and "runs" not in given and unheard:
        raise SettingError(
            f"the run file lists its trainings with settings of their own (runs), so "
            f"{', '.join(unheard)} would change nothing; change them there, or remove runs from it"
        )


def _introduction(datasets: Sequence[Parts], notes: Sequence[str]) -> str:
    lines = []
    for parts in datasets:
        counts = ", ".join(f"{len(rows):,} {name}" for name, rows in parts.rows.items())
        lines.append(f"{parts.form.words[0].upper()}{parts.form.words[1:]}: {counts} rows.")
    return "\n".join([*lines, *(f"  note: {note}" for note in notes)])


def _places(source: Any) -> list[str]:
    """The names of files or datasets in a source; none of what is in memory."""
    names = source if isinstance(source, (list, tuple)) else [source]
    return [str(one) for one in names] if all(map(is_place, names)) else []


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
