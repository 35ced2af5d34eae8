"""Candidates tried under a budget: short runs, then longer ones of those that are left.

A short run takes 15% of the steps of a long one, with a schedule of its own. It tells candidates
that make the model worse from those that do not, but it ranks those that tie by chance. So only
candidates below the start are dropped, at least two are kept, and as many as the budget allows are
trained in full, each from the start again (successive halving: Jamieson and Talwalkar 2016,
https://arxiv.org/abs/1502.07943).

The budget is counted in passes: one for each text that is trained on, a third for each text that is
only encoded. All decisions are taken in steps, which are noted; a budget in seconds decides on
their number by how fast the first runs were.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sentune.data.columns import input_columns
from sentune.errors import DatasetError, TrainingError
from sentune.workbench import forms_turned
from sentune.workbench.candidates import Candidate
from sentune.workbench.encoded import Encoded
from sentune.workbench.fit_one import Fitted, fit
from sentune.workbench.kept import Kept
from sentune.workbench.measure import Interval, Measure, Values, gain
from sentune.workbench.settings import Settings
from sentune.workbench.telling import Teller

SHORT = 0.15  # share of the steps of a long run
FEWEST = 2  # candidates that are trained in full, if there are so many
ENCODING = 1 / 3  # of a pass, for a text that is only encoded
_MOST_EPOCHS = 4.0  # of a long run, whatever the budget
_LEAST_TRAINING = 2 / 3  # share of the budget that is for training, however much is encoded
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
        fitted: That run, if its model is kept in memory.
        curves: Of the last run.
        seconds: That it took.
        is_full: Whether that was a long one.
    """

    candidate: Candidate
    place: int
    rounds: list[dict[str, Any]] = field(default_factory=list)
    state: str = "waiting"
    reason: str = ""
    values: Values | None = None
    fitted: Fitted | None = None
    curves: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    is_full: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.candidate.name


@dataclass
class Race:
    """All that a race needs, and what came out of it.

    Attributes:
        settings: Of the run.
        train: The training rows.
        start: The model before training, whose embeddings are kept.
        measure: Held-out rows to choose by.
        before: What the start gives on them.
        kept: Where finished runs are noted.
        teller: Says what goes on.
        allowed: Passes that may be spent; None where the steps are given.
        deadline: When it must be over, by `time.monotonic()`; None for never.
        passes: What was spent: "training" and "encoding".
    """

    settings: Settings
    train: Any
    start: Encoded
    measure: Measure
    before: Values
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
        self.entries = [Entry(one, place) for place, one in enumerate(candidates)]
        self._prepare()
        left = [one for one in self.entries if one.state == "waiting"]
        texts = self.full_texts(len(left)) if self.allowed is not None else 0.0
        if self._has_short(left, texts):
            for number, entry in enumerate(left):
                self._short(entry, texts, f"try {number + 1}/{len(left)}")
                if self.is_stopped:
                    return
            left = self._survivors(left, texts)
            texts = self._replanned(texts, len(left))
        elif self.allowed is not None and len(left) > FEWEST:
            left = self._first(left)
        for number, entry in enumerate(left):
            if number and self._is_late(entry):
                entry.state, entry.reason = "dropped", "no time was left for it"
                continue
            self._full(entry, texts, f"full {number + 1}/{len(left)}")
            if self.is_stopped:
                return

    def _has_short(self, entries: Sequence[Entry], texts: float) -> bool:
        """Whether short runs tell anything: not of two, which are both kept, nor in few steps."""
        if len(entries) <= FEWEST:
            return False
        return all(SHORT * self._steps(one, texts) >= _FEWEST_STEPS for one in entries)

    def _first(self, entries: list[Entry]) -> list[Entry]:
        """The first choices for the form, where there are too few rows for short runs."""
        for one in entries[FEWEST:]:
            one.state = "dropped"
            one.reason = "not among the first choices, and too few rows for short runs"
        return entries[:FEWEST]

    # The budget -----------------------------------------------------------------------------------

    def full_texts(self, count: int) -> float:
        """How many texts a long run of each of `count` candidates may read."""
        noted = self.kept.get("full_texts")
        if noted is not None:
            return float(noted)
        allowed = self.allowed or 0.0
        finals = min(FEWEST, count)
        shorts = SHORT * count if count > FEWEST else 0.0
        own = sum(map(len, self.measure.texts.values()))
        encoded = self.passes["encoding"] + ENCODING * own * (count + finals + _MIXES * finals)
        training = max(allowed - encoded, _LEAST_TRAINING * allowed)
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

    def _texts_of_a_step(self, entry: Entry) -> int:
        rows = self.rows_of(entry)
        size = min(entry.candidate.batch_size, len(rows))
        return size * len(input_columns(rows.column_names))

    @property
    def base_texts(self) -> int:
        """Texts of the training rows."""
        return len(self.train) * len(input_columns(self.train.column_names))

    def _steps(self, entry: Entry, texts: float) -> int:
        """Steps in which a candidate reads so many texts."""
        rows = self.rows_of(entry)
        if self.settings.steps is not None:
            return self.settings.steps
        if self.settings.epochs is not None:
            size = min(entry.candidate.batch_size, len(rows))
            return max(1, round(self.settings.epochs * len(rows) / size))
        return max(1, round(texts / self._texts_of_a_step(entry)))

    def _is_late(self, entry: Entry) -> bool:
        """Whether another long run would end after the deadline, by the time of the last one."""
        if self.deadline is None or self.best is None:
            return False
        return time.monotonic() + self.best.seconds > self.deadline

    # Runs -----------------------------------------------------------------------------------------

    def rows_of(self, entry: Entry) -> Any:
        """The training rows in the form that a candidate reads."""
        one = entry.candidate
        key = f"{one.data_as} {sorted(one.data_settings.items())}"
        if key not in self._turned:
            read = self.start.texts
            options = {"seed": self.settings.seed, **one.data_settings}
            self._turned[key] = forms_turned.turned(one.data_as, self.train, self.start, **options)
            self.passes["encoding"] += ENCODING * (self.start.texts - read)
        return self._turned[key]

    def _prepare(self) -> None:
        """Turn the rows for all; who has too few of them is out."""
        for entry in self.entries:
            try:
                self.rows_of(entry)
            except DatasetError as error:
                entry.state, entry.reason = "failed", str(error)
                self.teller.say(f"  {entry.name}: left out, {error}")
        if all(entry.state == "failed" for entry in self.entries):
            raise DatasetError("; ".join(entry.reason for entry in self.entries))

    def _short(self, entry: Entry, texts: float, label: str) -> None:
        steps = max(1, round(SHORT * self._steps(entry, texts)))
        self._once(entry, steps, f"short-{entry.place}", label)

    def _full(self, entry: Entry, texts: float, label: str) -> None:
        steps = self._steps(entry, texts)
        self._once(entry, steps, f"full-{entry.place}", label)
        if entry.state == "failed" or entry.values is None:
            return
        entry.is_full = True
        if not self.is_stopped:
            entry.state = "finished"
        if not self.is_stopped:
            entry.fitted = None  # its weights are in the folder of the run
        if self.best is None or entry.values.figure > self._figure_of(self.best):
            self.best = entry
            self.teller.leader = entry.name

    @staticmethod
    def _figure_of(entry: Entry) -> float:
        return entry.values.figure if entry.values is not None else float("-inf")

    def _once(self, entry: Entry, steps: int, key: str, label: str) -> None:
        """Train and measure, or take what was noted of it; a failure is noted, too."""
        is_full = key.startswith("full")
        noted = self.kept.get(key)
        try:
            if noted is not None:
                self._again(entry, noted, key)
            else:
                self._fresh(entry, steps, key, label)
        except (DatasetError, TrainingError) as error:
            entry.state, entry.reason = "failed", str(error)
            self.teller.say(f"  {entry.name}: failed, {error}")
            return
        self.kept.discard(key) if not is_full and not self.is_stopped else None
        self._tell(entry, label)

    def _fresh(self, entry: Entry, steps: int, key: str, label: str) -> None:
        rows, folder = self.rows_of(entry), self.kept.place(key)
        fitted = fit(entry.candidate, rows, steps, self.settings, folder, self.teller, label)
        self.is_stopped = fitted.is_stopped
        self.passes["training"] += fitted.steps * self._texts_of_a_step(entry)
        if fitted.is_stopped and key.startswith("short"):
            return  # too little to be worth a look
        encoded = Encoded(fitted.model)
        entry.values = self.measure.values(encoded)
        self.passes["encoding"] += ENCODING * encoded.texts
        entry.fitted = fitted if key.startswith("full") else None
        entry.curves, entry.seconds = fitted.curves, fitted.seconds
        self._note_round(entry, fitted.steps, steps)
        if fitted.is_stopped:
            return
        if key.startswith("full"):
            fitted.model.save_pretrained(str(folder / "model"), create_model_card=False)
        self.kept.note(
            key,
            {
                "steps": fitted.steps,
                "rows": entry.values.rows.tolist(),
                "curves": fitted.curves,
                "seconds": fitted.seconds,
                "passes": self.passes,
            },
        )

    def _again(self, entry: Entry, noted: dict[str, Any], key: str) -> None:
        """A run that was finished before the stop."""
        import numpy as np

        rows = np.asarray(noted["rows"], np.float64)
        entry.values = Values(self.measure, rows, self.measure.figure_of(rows))
        entry.curves, entry.seconds = noted["curves"], noted["seconds"]
        self.passes = dict(noted["passes"])
        self._note_round(entry, noted["steps"], noted["steps"])

    def _note_round(self, entry: Entry, done: int, steps: int) -> None:
        if entry.values is None:
            return
        found = gain(self.before, entry.values)
        entry.rounds.append(
            {
                "steps": done,
                "of_steps": steps,
                "figure": entry.values.figure,
                **as_dict(found),
            }
        )

    def _survivors(self, entries: Sequence[Entry], texts: float) -> list[Entry]:
        """Who is trained in full, the best first; the others are dropped, with a reason."""
        tried = [one for one in entries if one.values is not None and one.state == "waiting"]
        tried.sort(key=lambda one: (-self._figure_of(one), one.place))
        above = [one for one in tried if self._figure_of(one) >= self.before.figure]
        least = max(len(above), min(FEWEST, len(tried)))
        room = self._room(tried, texts)
        kept = tried[: min(least, max(room, min(FEWEST, len(tried))))]
        for one in tried:
            if one not in kept:
                one.state = "dropped"
                is_below = self._figure_of(one) < self.before.figure
                why = "below the start" if is_below else "not among the best"
                one.reason = f"{why} after a short run"
        return kept

    def _room(self, entries: Sequence[Entry], texts: float) -> int:
        """For how many long runs the rest of the budget is enough."""
        if self.allowed is None or not texts:
            return len(entries)
        left = self.allowed - sum(self.passes.values())
        return int(left // texts)

    def _tell(self, entry: Entry, label: str) -> None:
        if entry.values is None or not entry.rounds:
            return
        last = entry.rounds[-1]
        self.teller.say(
            f"  {label:<9}{entry.name}: {last['figure']:.4f} "
            f"({last['gain']:+.4f}, {last['low']:+.4f} to {last['high']:+.4f}) "
            f"after {last['steps']} steps"
        )


def as_dict(found: Interval) -> dict[str, float]:
    """A gain as plain values."""
    return {"gain": found.value, "low": found.low, "high": found.high, "error": found.error}


def loaded(folder: Any, settings: Settings) -> Any:
    """A model that a finished run left, with the record of how it was trained."""
    from sentune.encoder.sentence_transformers import SentenceTransformer
    from sentune.record.run import FILE, Run

    model = SentenceTransformer(str(folder / "model"), device=settings.device, dtype=settings.dtype)
    path = folder / FILE
    if path.is_file():
        model.model_card_data.add_run(Run.from_json(path.read_text(encoding="utf-8")))
    return model
