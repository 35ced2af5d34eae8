"""Candidates tried under a budget: short runs, then longer ones of those that are left.

A short run takes a tenth of the steps of a long one, with a schedule of its own. It tells
candidates that make the model worse from those that do not, and ranks those that tie by chance,
which does no harm. The best are trained in full, from the start again (successive halving: Jamieson
and Talwalkar 2016, https://arxiv.org/abs/1502.07943): two of them where the budget is enough for
two whole trainings, else one, since two halves of a training are worse than one whole.

The budget is counted in passes: one for each text that is trained on, a third for each text that is
only encoded. All decisions are taken in steps, which are noted; a budget in seconds decides on
their number by how fast the first runs were.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sentune.data.columns import input_columns
from sentune.errors import DatasetError, TrainingError
from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.measuring.measure import Interval, Values, gain, is_as_good
from sentune.workbench.racing.anchors import Anchors
from sentune.workbench.racing.candidates import Candidate
from sentune.workbench.racing.fit_one import fit
from sentune.workbench.racing.folds import WHOLE, HeldOut
from sentune.workbench.records.kept import Kept
from sentune.workbench.records.telling import Teller
from sentune.workbench.rows import forms_turned
from sentune.workbench.settings import Settings

SHORT = 0.1  # share of the steps of a long run
FINALISTS = 2  # candidates that are trained in full, at most
ENCODING = 1 / 3  # of a pass, for a text that is only encoded
_MOST_EPOCHS = 4.0  # of a long run, all folds together, whatever the budget
LEAST_TRAINING = 2 / 3  # share of the budget that is for training, however much is encoded
_CAUTION = 0.7  # share of the seconds left that long runs are planned with
_FEWEST_STEPS = 3  # of a short run
_MIXES = 3  # of the start and each finalist that are measured, about


@dataclass
class Entry:
    """A candidate in the race, and what was found of it.

    Attributes:
        candidate: What it is.
        place: Its number.
        rounds: For each run: steps, figure and gain.
        state: "waiting", "finished", "dropped", "failed", later "won".
        reason: Why.
        values: On the held-out rows, of its last run.
        curves: Of that run, of its last fold.
        seconds: That it took, all folds together.
        is_full: Whether that was a long one.
    """

    candidate: Candidate
    place: int
    rounds: list[dict[str, Any]] = field(default_factory=list)
    state: str = "waiting"
    reason: str = ""
    values: Values | None = None
    curves: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    is_full: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.candidate.name

    @property
    def figure(self) -> float:
        """Of its last run; below all others where there is none, or the training diverged."""
        found = float("nan") if self.values is None else self.values.figure
        return found if math.isfinite(found) else float("-inf")


@dataclass
class Race:
    """All that a race needs, and what came out of it.

    Attributes:
        settings: Of the run.
        held_out: The rows, in one fold or several.
        start: The model before training, whose embeddings are kept.
        before: What the start gives on the held-out rows.
        anchors: Texts that are to stay where they are; None for none.
        kept: Where finished runs are noted.
        teller: Says what goes on.
        allowed: Passes that may be spent; None where the steps are given.
        deadline: When it must be over, by `time.monotonic()`; None for never.
        passes: What was spent: "training" and "encoding".
    """

    settings: Settings
    held_out: HeldOut
    start: Encoded
    before: Values
    anchors: Anchors | None
    kept: Kept
    teller: Teller
    allowed: float | None
    deadline: float | None = None
    entries: list[Entry] = field(default_factory=list)
    best: Entry | None = None
    passes: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "encoding": 0.0})
    is_stopped: bool = False
    _turned: dict[str, Any] = field(default_factory=dict)

    def run(self, candidates: Sequence[Candidate]) -> None:
        """Race; after Ctrl-C `is_stopped` is set and `best` is the best so far."""
        self.entries = [Entry(one, place) for place, one in enumerate(self._bounded(candidates))]
        self._prepare()
        left = [one for one in self.entries if one.state == "waiting"]
        texts = self.full_texts(len(left)) if self.allowed is not None else 0.0
        if self._has_short(left, texts):
            for number, entry in enumerate(left):
                self._short(entry, texts, f"try {number + 1}/{len(left)}")
                if self.is_stopped:
                    return
            left = self._survivors(left)
            texts = self._replanned(texts, len(left))
        elif self.allowed is not None:
            left = self._first(left, self._finals(len(left)))
        for number, entry in enumerate(left):
            if number and self._is_late(entry):
                entry.state, entry.reason = "dropped", "no time was left for it"
                continue
            self._full(entry, texts, f"full {number + 1}/{len(left)}")
            if self.is_stopped:
                return

    def _has_short(self, entries: Sequence[Entry], texts: float) -> bool:
        """Whether short runs tell anything: not where all are kept, nor in few steps."""
        if len(entries) <= self._finals(len(entries)):
            return False
        return all(SHORT * self._steps(one, texts) >= _FEWEST_STEPS for one in entries)

    @staticmethod
    def _first(entries: list[Entry], count: int) -> list[Entry]:
        """The first choices for the form, where there are too few rows for short runs."""
        for one in entries[count:]:
            one.state = "dropped"
            one.reason = "not among the first choices, and too few rows for short runs"
        return entries[:count]

    @property
    def has_folds(self) -> bool:
        """Whether there are several trainings of each candidate."""
        return len(self.held_out.folds) > 1

    def _finals(self, count: int) -> int:
        """How many of so many candidates are trained in full."""
        if self.allowed is None:
            return min(FINALISTS, count)
        room = LEAST_TRAINING * self.allowed / (WHOLE * self.base_texts)
        return max(1, min(FINALISTS, count, int(room)))

    # The budget -----------------------------------------------------------------------------------

    def full_texts(self, count: int) -> float:
        """How many texts a long run of each of `count` candidates may read."""
        noted = self.kept.get("full_texts")
        if noted is not None:
            return float(noted)
        allowed = self.allowed or 0.0
        finals = self._finals(count)
        shorts = SHORT * count if count > finals else 0.0
        own = sum(sum(map(len, fold.measure.texts.values())) for fold in self.held_out.folds)
        encoded = self.passes["encoding"] + ENCODING * own * (count + finals + _MIXES * finals)
        training = max(allowed - encoded, LEAST_TRAINING * allowed)
        most = _MOST_EPOCHS * self.base_texts
        found = min(training / (shorts + finals), most)
        self.kept.note("full_texts", found)
        return found

    def _replanned(self, texts: float, count: int) -> float:
        """The length of a long run, by the time that is left and how fast the short runs were."""
        tried = [one for one in self.entries if one.seconds and one.rounds]
        noted = self.kept.get("replanned")
        if self.deadline is None or not tried or noted is not None:
            return float(noted or texts)
        read = sum(one.rounds[-1]["steps"] * self._texts_of_a_step(one) for one in tried)
        pace = read / sum(one.seconds for one in tried)
        left = self.deadline - time.monotonic()
        found = max(_CAUTION * left * pace / max(1, count), SHORT * texts)
        found = min(found, _MOST_EPOCHS * self.base_texts)
        self.kept.note("replanned", found)
        return found

    def _texts_of_a_step(self, entry: Entry) -> float:
        """Of several datasets the mean, each as often as it has batches."""
        each = self.rows_of(entry)
        texts = sum(_texts_of(rows) for rows in each)
        anchors = 0 if self.anchors is None else self.anchors.in_a_batch
        return texts / sum(self._batches(entry)) + anchors

    def _batches(self, entry: Entry) -> list[float]:
        """How many batches each dataset has."""
        pairs = zip(entry.candidate.each, self.rows_of(entry), strict=True)
        return [len(rows) / min(one.batch_size, len(rows)) for one, rows in pairs]

    @property
    def base_texts(self) -> int:
        """Texts of all rows that are trained on, each once."""
        folds = [fold.train for fold in self.held_out.folds]
        count = sum(_texts_of(rows) for each in folds for rows in each)
        return count // max(1, len(folds) - 1)  # every row is in all folds but one

    def _steps(self, entry: Entry, texts: float) -> int:
        """Steps in which a candidate reads so many texts, in all folds together."""
        given = entry.candidate.steps or self.settings.steps
        if given is not None:
            return given
        if self.settings.epochs is not None:
            return max(1, round(self.settings.epochs * sum(self._batches(entry))))
        folds = len(self.held_out.folds)
        return max(1, round(texts / folds / self._texts_of_a_step(entry)))

    def _is_late(self, entry: Entry) -> bool:
        """Whether another long run would end after the deadline, by the time of the last one."""
        if self.deadline is None or self.best is None:
            return False
        return time.monotonic() + self.best.seconds > self.deadline

    @property
    def is_spent(self) -> bool:
        """Whether more passes were spent than are allowed."""
        return self.allowed is not None and sum(self.passes.values()) > self.allowed

    # Runs -----------------------------------------------------------------------------------------

    def rows_of(self, entry: Entry, fold: int = 0) -> list[Any]:
        """The training rows of a fold in the forms that a candidate reads, of each dataset."""
        each = entry.candidate.each
        return [self._rows_of(one, fold, place) for place, one in enumerate(each)]

    def _rows_of(self, one: Candidate, fold: int, dataset: int) -> Any:
        key = f"{fold} {dataset} {one.data_as} {sorted(one.data_settings.items())}"
        if key not in self._turned:
            read = self.start.texts
            options = {"seed": self.settings.seed, **one.data_settings}
            train = self.held_out.folds[fold].train[dataset]
            self._turned[key] = forms_turned.turned(one.data_as, train, self.start, **options)
            self.passes["encoding"] += ENCODING * (self.start.texts - read)
        return self._turned[key]

    def _bounded(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Candidates whose turns read no more rows than the budget can train on.

        The number of rows is a setting of the candidate then, so that a run file has it.
        """
        train = self.held_out.folds[0].train
        settings = self.kept.get("turned_rows") or [
            [
                forms_turned.within(one.data_as, rows, self.allowed, one.data_settings)
                for one, rows in zip(candidate.each, train, strict=True)
            ]
            for candidate in candidates
        ]
        self.kept.note("turned_rows", settings)
        return [_with_settings(one, own) for one, own in zip(candidates, settings, strict=True)]

    def _prepare(self) -> None:
        """Turn the rows for all; who has too few of them is out."""
        for entry in self.entries:
            try:
                for fold in range(len(self.held_out.folds)):
                    self.rows_of(entry, fold)
            except DatasetError as error:
                entry.state, entry.reason = "failed", str(error)
                self.teller.say(f"  {entry.name}: left out, {error}")
        if all(entry.state == "failed" for entry in self.entries):
            raise DatasetError("; ".join(entry.reason for entry in self.entries))

    def _short(self, entry: Entry, texts: float, label: str) -> None:
        steps = max(1, round(SHORT * self._steps(entry, texts)))
        self._once(entry, steps, "short", label)

    def _full(self, entry: Entry, texts: float, label: str) -> None:
        if not self._once(entry, self._steps(entry, texts), "full", label):
            return
        entry.is_full = True
        if not self.is_stopped:
            entry.state = "finished"
        if self.best is None or entry.figure > self.best.figure:
            self.best = entry
            self.teller.leader = entry.name

    def key_of(self, entry: Entry, kind: str, fold: int) -> str:
        """Under which a training is noted, and its folder."""
        return f"{kind}-{entry.place}" + (f"-{fold}" if self.has_folds else "")

    def _once(self, entry: Entry, steps: int, kind: str, label: str) -> bool:
        """Train and measure, or take what was noted of it; whether there is a figure now."""
        done: list[dict[str, Any]] = []
        folds = range(len(self.held_out.folds))
        entry.seconds = 0.0
        try:
            for fold in folds:
                key = self.key_of(entry, kind, fold)
                of = f" {fold + 1}/{len(folds)}" if self.has_folds else ""
                found = self.kept.get(key) or self._fresh(entry, fold, steps, key, label + of)
                if found is None or (self.is_stopped and self.has_folds):
                    return False  # stopped, with too little to be worth a look
                done.append(found)
                self.passes = dict(found["passes"])
                entry.curves, entry.seconds = found["curves"], entry.seconds + found["seconds"]
        except (DatasetError, TrainingError) as error:
            entry.state, entry.reason = "failed", str(error)
            self.teller.say(f"  {entry.name}: failed, {error}")
            return False
        entry.values = self.held_out.values_of([one["rows"] for one in done])
        entry.rounds.append(
            {
                **{name: done[-1][name] for name in ("steps", "of_steps")},
                "figure": entry.values.figure,
                **as_dict(gain(self.before, entry.values)),
            }
        )
        if kind == "short" and not self.is_stopped:
            for fold in folds:
                self.kept.discard(self.key_of(entry, kind, fold))
        self._tell(entry, label)
        return True

    def _fresh(
        self, entry: Entry, fold: int, steps: int, key: str, label: str
    ) -> dict[str, Any] | None:
        """Train on a fold and measure; what is noted of it, or None if there is nothing to note."""
        rows, folder = self.rows_of(entry, fold), self.kept.place(key)
        candidate, anchors = entry.candidate, self.anchors
        fitted = fit(candidate, rows, steps, self.settings, folder, self.teller, label, anchors)
        self.is_stopped = fitted.is_stopped
        self.passes["training"] += fitted.steps * self._texts_of_a_step(entry)
        if fitted.is_stopped and key.startswith("short"):
            return None
        encoded = Encoded(fitted.model)
        values = self.held_out.folds[fold].measure.values(encoded)
        self.passes["encoding"] += ENCODING * encoded.texts
        if key.startswith("full"):
            fitted.model.save_pretrained(str(folder / "model"), create_model_card=False)
        found = {
            "steps": fitted.steps,
            "of_steps": steps,
            "rows": values.rows.tolist(),
            "curves": fitted.curves,
            "seconds": fitted.seconds,
            "passes": dict(self.passes),
        }
        if not fitted.is_stopped:
            self.kept.note(key, found)
        return found

    def _survivors(self, entries: Sequence[Entry]) -> list[Entry]:
        """Who is trained in full; the others are dropped, with a reason.

        A choice further down in the table must be better by more than one standard error: a short
        run says little about a long one, and less where there are few held-out rows.
        """
        tried = [one for one in entries if one.values is not None and one.state == "waiting"]
        finals: list[Entry] = []
        for _ in range(min(self._finals(len(tried)), len(tried))):
            left = [one for one in tried if one not in finals]
            finals.append(first_as_good(left))
        for one in tried:
            if one not in finals:
                one.state = "dropped"
                one.reason = f"{self._why_dropped(one, finals)} after a short run"
        return finals

    def _why_dropped(self, entry: Entry, finals: Sequence[Entry]) -> str:
        if entry.figure < self.before.figure:
            return "below the start"
        is_best = entry.figure > max(one.figure for one in finals)
        return "no more than chance above an earlier choice" if is_best else "not the best"

    def _tell(self, entry: Entry, label: str) -> None:
        last = entry.rounds[-1]
        self.teller.say(
            f"  {label:<9}{entry.name}: {last['figure']:.4f} "
            f"({last['gain']:+.4f}, {last['low']:+.4f} to {last['high']:+.4f}) "
            f"after {last['steps']} steps"
        )


def first_as_good(entries: Sequence[Entry]) -> Entry:
    """The first of the entries that is as good as the best of them."""
    known = [(one, one.values) for one in entries if one.values is not None]
    _, best = max(known, key=lambda pair: pair[0].figure)
    return next(one for one, values in known if is_as_good(values, best))


def _texts_of(rows: Any) -> int:
    return len(rows) * len(input_columns(rows.column_names))


def _with_settings(candidate: Candidate, each: Sequence[dict[str, Any]]) -> Candidate:
    """A candidate with the settings of the turn of each dataset."""
    own, *others = each
    pairs = zip(candidate.also, others, strict=True)
    also = tuple(replace(one, data_settings=settings) for one, settings in pairs)
    return replace(candidate, data_settings=own, also=also)


def as_dict(found: Interval) -> dict[str, float]:
    """A gain as plain values."""
    return {"gain": found.value, "low": found.low, "high": found.high, "error": found.error}


def loaded(folder: Any, settings: Settings) -> Any:
    """A model that a finished run left."""
    from sentune.encoder.sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder / "model"), device=settings.device, dtype=settings.dtype)
