"""The course of a training: measure the start, race, mix, decide, test."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sentune.data import forms
from sentune.data.columns import input_columns
from sentune.errors import DatasetError, SettingError
from sentune.losses.fitting import check_loss
from sentune.workbench.measuring.by_form import measure_for
from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.measuring.general import Check, threshold_of
from sentune.workbench.measuring.measure import Measure, Together, Values, gain
from sentune.workbench.racing import anchors, decision
from sentune.workbench.racing.anchors import Anchors
from sentune.workbench.racing.candidates import Candidate, candidates, check_any, joint
from sentune.workbench.racing.decision import Choice, Mix
from sentune.workbench.racing.folds import HeldOut, number_of_folds
from sentune.workbench.racing.lines import Line, Looking
from sentune.workbench.racing.race import ENCODING, LEAST_TRAINING, Entry, Race, as_dict
from sentune.workbench.records.kept import Kept
from sentune.workbench.records.telling import Teller
from sentune.workbench.rows.forms_turned import MINED
from sentune.workbench.rows.prepared import Parts, halves_of
from sentune.workbench.rows.several import words_of
from sentune.workbench.settings import Settings, seconds_or_passes

# Passes over the training rows that the usual recipe for a form takes; a little less than three
# times as many are allowed by default. Pairs with a score are usually trained on for 4 epochs.
_RECIPE_EPOCHS = {forms.PAIR_AND_SCORE.name: 4.0}
_TIMES_THE_RECIPE = 2.9
_REFERENCES = 1000  # labelled texts among which neighbours are looked for, while choosing
_LOOK = 0.03  # share of a budget in seconds that one look at the held-out rows may take
_LEAST_ROWS = 200  # that are looked at, whatever the budget
_CAUTION = 0.85  # share of a budget in seconds that is planned with


@dataclass
class Course:
    """What a run does between reading its options and writing its folder.

    Attributes:
        settings: Of the run.
        datasets: The rows, in parts: of one dataset, or of several of different forms.
        start: The model before training.
        notes: What was done to the rows, in sentences.
        kept: Notes of what is finished.
        teller: Says what goes on.
        began: When the run began, by `time.monotonic()`.
        race: The race; None where nothing is trained.
        lines: From the start to what was trained.
        mixes: Shares of these that were measured.
        choice: What is kept.
        result: Part -> figures of the start and of what is kept.
        is_stopped: Whether Ctrl-C ended it early.
        winner: The line on which that is what is kept; None if that is the start.
        model: What is kept.
    """

    settings: Settings
    datasets: tuple[Parts, ...]
    start: Encoded
    notes: Sequence[str]
    kept: Kept
    teller: Teller
    began: float
    race: Race | None = None
    lines: list[Line] = field(default_factory=list)
    mixes: list[Mix] = field(default_factory=list)
    choice: Choice = field(default_factory=lambda: Choice(None, "failed", "nothing was trained"))
    result: dict[str, Any] = field(default_factory=dict)
    is_stopped: bool = False
    winner: Line | None = None
    model: Any = None

    def go(self) -> None:
        """All of it; after Ctrl-C with what is there by then."""
        self.model = self.start.model
        self.held_out = self._held_out(self._most())
        self.measure = self.held_out.measure
        self.candidates = self._candidates(is_one=len(self.held_out.folds) > 1)
        self._check_prompts()
        self.before = self._measured_start()
        if self.settings.alpha == 0:
            self.choice = Choice(None, "asked", "alpha is 0, which is the start")
        else:
            self._train()
        after = self.before if self.choice.mix is None else self.choice.mix.values
        self.result["dev"] = self._figures(self.before, after)
        if not self.is_stopped:
            self._test()

    @cached_property
    def after(self) -> Encoded:
        """What is kept, with its embeddings; only when that is decided."""
        return self.start if self.model is self.start.model else Encoded(self.model)

    @property
    def threshold(self) -> float:
        """The least agreement with the start on other texts."""
        own = self.settings.agreement
        return max(threshold_of(one.form) for one in self.datasets) if own is None else own

    @property
    def part(self) -> str:
        """Of the held-out rows that the last figure is of."""
        return "test" if "test" in self.result else "dev"

    def _held_out(self, most: int | None) -> HeldOut:
        """What is trained on and measured with: a part that is held out, or all in turn."""
        self._check_folds()
        folds, parts = self.settings.folds or self._folds(), self.datasets[0]
        if folds > 1:
            try:
                found = HeldOut.in_turn(parts, folds, self.settings.seed, self.start, _REFERENCES)
            except DatasetError as error:  # as of a fold with one class only
                self.teller.say(f"  note: the rows are not held out in turn, {error}")
            else:
                self.teller.say(
                    f"  The rows to train on and to choose by are held out in turn, in {folds} "
                    "parts; the weights of these trainings are averaged."
                )
                return found
        train = [one.rows["train"] for one in self.datasets]
        return HeldOut.one(train, self._measure("dev", most))

    def _check_folds(self) -> None:
        """Raise if rows are to be held out in turn that cannot be."""
        folds, parts = self.settings.folds or 1, self.datasets[0]
        reasons = {
            "there are several datasets": len(self.datasets) > 1,
            "rows to choose by are given (dev)": "dev" in parts.given,
            "texts alone are measured by their halves": parts.form is forms.TEXT,
        }
        why = next((why for why, holds in reasons.items() if holds), None)
        if folds > 1 and why is not None:
            raise SettingError(
                f"folds={folds} holds the rows out in turn to choose by, and {why}; leave out folds"
            )

    def _folds(self) -> int:
        """In how many parts the rows are held out in turn."""
        if len(self.datasets) > 1 or self.datasets[0].form is forms.TEXT:
            return 1
        if self.kept.get("folds") is None:
            allowed, _ = self._budget()
            passes = None if allowed is None else LEAST_TRAINING * allowed / max(1, self._texts())
            losses = {(one.loss, one.data_as) for one in self._candidates(is_one=False)}
            self.kept.note("folds", number_of_folds(self.datasets[0], passes, len(losses)))
        return int(self.kept.get("folds"))

    def _measure(self, part: str, most: int | None = None) -> Measure:
        """What is measured on a part; on `most` of its rows, at most, and as many training rows."""
        several = [one for one in self.datasets if part in one.rows]
        return Together.of([self._measure_of(one, part, most) for one in several])

    def _measure_of(self, parts: Parts, part: str, most: int | None) -> Measure:
        rows, groups, form = parts.rows[part], parts.groups[part], parts.form
        if most is not None and len(rows) > most:
            random = np.random.default_rng(self.settings.seed)
            chosen = np.sort(random.permutation(len(rows))[:most])
            rows, groups = rows.select(chosen), groups[chosen]
        if form is forms.TEXT:
            rows, places = halves_of(rows)
            return measure_for(rows, None, forms.PAIR, groups=groups[places])
        train = parts.rows["train"]
        references = _REFERENCES if part == "dev" else 2 * _REFERENCES
        references = min(most or references, references)
        return measure_for(
            rows, train, form, groups=groups, model=self.start, references=references
        )

    def _most(self) -> int | None:
        """How many rows to choose by a budget in seconds has the time for; None for all."""
        seconds, _ = seconds_or_passes(self.settings.budget)
        texts = [text for text in self._some_texts() if text]
        self.start.model.encode(texts[:8], show_progress_bar=False)  # get ready
        began = time.monotonic()
        self.start.model.encode(texts, show_progress_bar=False)
        if self.kept.get("texts_per_second") is None:
            pace = len(texts) / max(time.monotonic() - began, 1e-6)
            most = None if seconds is None else max(_LEAST_ROWS, int(_LOOK * seconds * pace / 2))
            self.kept.note("texts_per_second", pace)
            self.kept.note("most_rows", most)
        found = self.kept.get("most_rows")
        return None if found is None else int(found)

    def _some_texts(self) -> list[str]:
        rows = self.datasets[0].rows["train"]
        return list(rows[input_columns(rows.column_names)[0]][:64])

    def _measured_start(self) -> Values:
        found = self.measure.values(self.start)
        self.teller.say(
            f"  start    {self.measure.metric} {found.figure:.4f} on {self.measure.rows:,} "
            "held-out rows to choose by"
        )
        return found

    # Training -------------------------------------------------------------------------------------

    def _train(self) -> None:
        self.race = Race(
            self.settings,
            self.held_out,
            self.start,
            self.before,
            self._anchors(),
            self.kept,
            self.teller,
            *self._budget(),
        )
        try:
            self.race.run(self.candidates)
            self.is_stopped = self.race.is_stopped
        except KeyboardInterrupt:  # outside of a training
            self.is_stopped = True
        if self.is_stopped:
            self.teller.say("Ctrl-C: looking at what there is so far; press it again to leave.")
        self._decide()

    def _anchors(self) -> Anchors | None:
        """Texts that are to stay where they are; none where any change is allowed."""
        count = self.settings.anchors
        if count is None:
            count = anchors.IN_A_BATCH if self.threshold > 0 else 0
        return Anchors.of(self.start, count, self._texts() // 8) if count else None

    def _texts(self) -> int:
        """How many texts there are to train on and to choose by, where that is one file."""
        return sum(map(_texts_of, self.datasets))

    def _budget(self) -> tuple[float | None, float | None]:
        """Passes that may be spent, and when it must be over."""
        seconds, times = seconds_or_passes(self.settings.budget)
        has_steps = self.settings.steps is not None or self.settings.epochs is not None
        if has_steps or self.settings.runs:
            return None, None if seconds is None else self.began + seconds
        texts = self._texts()
        if seconds is None:
            recipe = sum(_epochs_of(one) * _texts_of(one) for one in self.datasets)
            return (texts * times if times else _TIMES_THE_RECIPE * recipe), None
        left = self.began + seconds - time.monotonic()
        pace = float(self.kept.get("texts_per_second"))
        return max(_CAUTION * left, 1.0) * pace * ENCODING, self.began + seconds

    def _check_prompts(self) -> None:
        prompts = self.settings.prompts
        if not prompts:
            return
        if not prompts.keys() <= {"query", "document"}:
            raise SettingError(
                f'prompts are for "query" and "document", got {sorted(prompts)}; the first column '
                "of the rows is the query"
            )
        if "query" not in self.measure.texts:
            raise SettingError(
                f"prompts are for rows in which one text searches another, as pairs and triplets; "
                f"these have the form {words_of(self.datasets)!r}"
            )

    def _candidates(self, *, is_one: bool) -> tuple[Candidate, ...]:
        fixed = self.settings.fixed
        if self.settings.negatives is not None:
            fixed = {"data_as": MINED, **fixed}
            fixed["data_settings"] = {
                "negatives": self.settings.negatives,
                **(self.settings.data_settings or {}),
            }
        if self.settings.runs:
            return tuple(map(_candidate_of, self.settings.runs))
        of_each = [one.form for one in self.datasets]
        if len(of_each) > 1:
            return joint(of_each, fixed)
        found = candidates(of_each[0], fixed, is_one=is_one)
        check_any(found, of_each[0])
        return found

    # What is kept ---------------------------------------------------------------------------------

    def _decide(self) -> None:
        """Measure shares of all that was trained in full, and keep the best, or the start."""
        finished = self._finished()
        if not finished or self.race is None:
            self.choice = (
                Choice(None, "stopped", "it was stopped before the first training was done")
                if self.is_stopped
                else Choice(None, "failed", _failed(self))
            )
            return
        read = self.start.texts
        check = Check.of(self.start)
        self.race.passes["encoding"] += ENCODING * (self.start.texts - read)
        finished.sort(key=lambda one: -one.figure)
        looking = Looking(self.race, check, self.threshold)
        self.lines = [Line([one], self.race) for one in finished]
        if len(finished) > 1 and not self.is_stopped:
            self.lines.insert(0, Line(finished, self.race))
        if self.settings.alpha is not None:
            self._note(looking.at(self.lines[0], 0, self.settings.alpha))
            words = f"alpha = {self.settings.alpha:g}, as asked for"
            self.choice = Choice(self.mixes[0], "asked", words)
        else:
            is_cut_short = self._look(looking)
            errors = decision.bar(self.before, self._tried(finished))
            self.choice = decision.choose(
                self.before, self.mixes, errors, is_cut_short=is_cut_short
            )
        if self.choice.mix is not None:
            self.winner = self.lines[self.choice.mix.place]
            if len(self.winner.entries) == 1:
                self.winner.entries[0].state = "won"
            self.model = self.winner.mixer.at(self.choice.mix.alpha)

    def _look(self, looking: Looking) -> bool:
        """Measure shares of the lines: of the average first, of others where they may be better.

        Gives whether time ran out before all were measured.
        """
        for place, line in enumerate(self.lines):
            best = max((mix.values.figure for mix in self.mixes if mix.passes), default=-np.inf)
            if line.known is not None and line.known.figure <= best:
                continue
            for mix in looking.along(line, place):
                self._note(mix)
                # Late or not, a training is not thrown away before a share was seen that may stay.
                if self._is_late() and any(one.passes for one in self.mixes):
                    return True
        return False

    def _note(self, mix: Mix) -> None:
        self.mixes.append(mix)
        self.teller.say(f"  mix {mix.alpha:<4g} of {self.lines[mix.place].name}: {_of_mix(mix)}")

    def _tried(self, finished: list[Entry]) -> list[Values]:
        """All that was looked at on the held-out rows, each once."""
        tried = [one.values for one in finished if one.values is not None]
        known = {id(one) for one in tried}
        return tried + [mix.values for mix in self.mixes if id(mix.values) not in known]

    def _is_late(self) -> bool:
        deadline = None if self.race is None else self.race.deadline
        return deadline is not None and time.monotonic() > deadline

    def _finished(self) -> list[Entry]:
        return [] if self.race is None else [one for one in self.race.entries if one.is_full]

    # The last figure ------------------------------------------------------------------------------

    def _test(self) -> None:
        """The figure on rows that nothing was chosen by."""
        if not any("test" in one.rows for one in self.datasets):
            return
        try:
            measure = self._measure("test")
        except DatasetError as error:
            self.teller.say(f"  note: nothing can be measured on the test rows: {error}")
            return
        before = measure.values(self.start)
        after = before if self.after is self.start else measure.values(self.after)
        self.result["test"] = self._figures(before, after)
        found = self.result["test"]
        change = (
            f" -> {found['after']:.4f} ({found['gain']:+.4f}, {found['low']:+.4f} to "
            f"{found['high']:+.4f})"
        )
        self.teller.say(
            f"  test     {measure.metric} {found['before']:.4f}{'' if after is before else change} "
            f"on {found['rows']:,} rows"
        )

    @staticmethod
    def _figures(before: Values, after: Values) -> dict[str, Any]:
        found = as_dict(gain(before, after))
        figures = {
            "before": before.figure,
            "after": after.figure,
            **{name: found[name] for name in ("gain", "low", "high")},
            "rows": before.measure.rows,
        }
        if not isinstance(before.measure, Together):
            return figures
        pairs = zip(before.parts, after.parts, strict=True)
        each = [{"metric": a.measure.metric, **Course._figures(a, b)} for a, b in pairs]
        return {**figures, "each": each}


def _candidate_of(run: Mapping[str, Any]) -> Candidate:
    """A training as `runs` gives it."""
    try:
        found = Candidate.of(run)
    except TypeError:
        raise SettingError(
            "each of runs must have loss, learning_rate, batch_size and steps, got "
            f"{', '.join(run) or 'nothing'}"
        ) from None
    for one in found.each:
        check_loss(one.loss)
    return found


def _texts_of(parts: Parts) -> int:
    names = ["train"] if "dev" in parts.given else ["train", "dev"]
    columns = input_columns(parts.rows["train"].column_names)
    return sum(len(parts.rows[name]) for name in names) * len(columns)


def _epochs_of(parts: Parts) -> float:
    return _RECIPE_EPOCHS.get(parts.form.name, 1.0)


def _of_mix(mix: Mix) -> str:
    found = mix.gain
    return (
        f"{mix.values.figure:.4f} ({found.value:+.4f}, {found.low:+.4f} to {found.high:+.4f}), "
        f"agreement {mix.agreement:.4f}"
    )


def _failed(course: Course) -> str:
    reasons = [f"{one.name}: {one.reason}" for one in (course.race.entries if course.race else ())]
    return f"nothing could be trained ({'; '.join(reasons)})"
