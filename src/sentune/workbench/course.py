"""The course of a training: measure the start, race, mix, decide, test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sentune.data import forms
from sentune.data.columns import input_columns
from sentune.errors import DatasetError, SettingError
from sentune.workbench import decision, mixing
from sentune.workbench.candidates import Candidate, candidates
from sentune.workbench.decision import Choice, Mix
from sentune.workbench.encoded import Encoded
from sentune.workbench.forms_turned import MINED
from sentune.workbench.general import THRESHOLD, Check
from sentune.workbench.kept import Kept
from sentune.workbench.measure import Measure, Values, gain, measure_for
from sentune.workbench.mixing import Mixer
from sentune.workbench.prepared import Parts, halves_of
from sentune.workbench.race import ENCODING, Entry, Race, as_dict, loaded
from sentune.workbench.settings import Settings, seconds_or_passes
from sentune.workbench.telling import Teller

# Passes over the training rows that the usual recipe for a form takes; three times as many are
# allowed by default. Pairs with a score are usually trained on for 4 epochs.
_RECIPE_EPOCHS = {forms.PAIR_AND_SCORE.name: 4.0}
_TIMES_THE_RECIPE = 3.0
_REFERENCES = 1000  # labelled texts among which neighbours are looked for, while choosing
_LOOK = 0.03  # share of a budget in seconds that one look at the held-out rows may take
_LEAST_ROWS = 200  # that are looked at, whatever the budget
_CAUTION = 0.85  # share of a budget in seconds that is planned with


@dataclass
class Course:
    """What a run does between reading its options and writing its folder.

    Attributes:
        settings: Of the run.
        parts: The rows.
        start: The model before training.
        kept: Notes of what is finished.
        teller: Says what goes on.
        began: When the run began, by `time.monotonic()`.
        race: The race; None where nothing is trained.
        mixes: Shares of the trained weights that were measured.
        choice: What is kept.
        result: Part -> figures of the start and of what is kept.
        is_stopped: Whether Ctrl-C ended it early.
        winner: The candidate whose weights are in what is kept; None if that is the start.
        model: What is kept.
    """

    settings: Settings
    parts: Parts
    start: Encoded
    kept: Kept
    teller: Teller
    began: float
    race: Race | None = None
    mixes: list[Mix] = field(default_factory=list)
    choice: Choice = field(default_factory=lambda: Choice(None, "nothing was trained"))
    result: dict[str, Any] = field(default_factory=dict)
    is_stopped: bool = False
    winner: Entry | None = None
    model: Any = None

    def go(self) -> None:
        """All of it; after Ctrl-C with what is there by then."""
        self.model = self.start.model
        self.candidates = self._candidates()
        self.measure = self._measure("dev", self._most())
        self._check_prompts()
        self.before = self._measured_start()
        if self.settings.alpha == 0:
            self.choice = Choice(None, "alpha is 0, which is the start")
        else:
            self._train()
        after = self.before if self.choice.mix is None else self.choice.mix.values
        self.result["dev"] = self._figures(self.before, after)
        if "test" in self.parts.rows and not self.is_stopped:
            self._test()

    @cached_property
    def after(self) -> Encoded:
        """What is kept, with its embeddings; only when that is decided."""
        return self.start if self.model is self.start.model else Encoded(self.model)

    @property
    def threshold(self) -> float:
        """The least agreement with the start on other texts."""
        own = self.settings.agreement
        return THRESHOLD if own is None else own

    def _measure(self, part: str, most: int | None = None) -> Measure:
        """What is measured on a part; on `most` of its rows, at most, and as many training rows."""
        rows, groups, form = self.parts.rows[part], self.parts.groups[part], self.parts.form
        if most is not None and len(rows) > most:
            random = np.random.default_rng(self.settings.seed)
            chosen = np.sort(random.permutation(len(rows))[:most])
            rows, groups = rows.select(chosen), groups[chosen]
        if form is forms.TEXT:
            rows, places = halves_of(rows)
            return measure_for(rows, None, forms.PAIR, groups=groups[places])
        train = self.parts.rows["train"]
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
        rows = self.parts.rows["train"]
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
            self.parts.rows["train"],
            self.start,
            self.measure,
            self.before,
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

    def _budget(self) -> tuple[float | None, float | None]:
        """Passes that may be spent, and when it must be over."""
        seconds, times = seconds_or_passes(self.settings.budget)
        if self.settings.steps is not None or self.settings.epochs is not None:
            return None, None if seconds is None else self.began + seconds
        train = self.parts.rows["train"]
        texts = len(train) * len(input_columns(train.column_names))
        if seconds is None:
            recipe = _RECIPE_EPOCHS.get(self.parts.form.name, 1.0)
            return texts * (times or _TIMES_THE_RECIPE * recipe), None
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
                f"these have the form {self.parts.form.name!r}"
            )

    def _candidates(self) -> tuple[Candidate, ...]:
        fixed = self.settings.fixed
        if self.settings.negatives is not None:
            fixed = {"data_as": MINED, **fixed}
            fixed["data_settings"] = {
                "negatives": self.settings.negatives,
                **(self.settings.data_settings or {}),
            }
        found = candidates(self.parts.form, fixed)
        if not found:
            raise SettingError(
                f"no losses are known for the form {self.parts.form.name!r}; name one with --loss"
            )
        return found

    # What is kept ---------------------------------------------------------------------------------

    def _decide(self) -> None:
        """Measure mixes of all that were trained in full, and keep the best, or the start."""
        finished = self._finished()
        if not finished:
            why = "it was stopped before anything was trained" if self.is_stopped else _failed(self)
            self.choice = Choice(None, why)
            return
        read = self.start.texts
        self.check = Check.of(self.start, self._own_texts())
        self._spent(self.start.texts - read)
        finished.sort(key=lambda one: -one.values.figure if one.values is not None else 0.0)
        for entry in finished:
            if not self.mixes or not self._is_late():
                self.mixes += self._mixes(entry)
        tried = [one.values for one in finished if one.values is not None]
        tried += [mix.values for mix in self.mixes if mix.alpha != 1]
        if self.settings.alpha is not None:
            self.choice = Choice(self.mixes[0], f"alpha = {self.settings.alpha:g}, as asked for")
        else:
            errors = decision.bar(self.before, tried)
            self.choice = decision.choose(self.before, self.mixes, errors)
        if self.choice.mix is not None:
            self.winner = next(one for one in finished if one.place == self.choice.mix.place)
            self.winner.state = "won"
            self.model = Mixer.of(self._fitted(self.winner), self.start.model).at(
                self.choice.mix.alpha
            )

    def _mixes(self, entry: Entry) -> list[Mix]:
        """Measure shares of the trained weights, the largest first.

        Those that move other texts too much are not measured on the task, but for the trained
        weights themselves, whose figure is there. Below a share that is worse by more than its
        error, smaller ones are left out.
        """
        mixer = Mixer.of(self._fitted(entry), self.start.model)
        found: list[Mix] = []
        for alpha, agreement in self._agreeing(mixer):
            values = entry.values if alpha == 1 else None
            if values is None:
                values = self._measured(mixer.at(alpha))
            mix = Mix(
                entry.place,
                alpha,
                values,
                gain(self.before, values),
                agreement,
                agreement >= self.threshold,
            )
            found.append(mix)
            self.teller.say(f"  mix {alpha:<4g} of {entry.name}: {_of_mix(mix)}")
            allowed = [one for one in found if one.passes]
            best = max(allowed, key=lambda one: one.values.figure, default=mix)
            behind = gain(mix.values, best.values)
            if mix.passes and behind.value > behind.error:
                break
        mixer.at(1.0)  # as it was: the model may be mixed again
        return found

    def _agreeing(self, mixer: Mixer) -> Iterator[tuple[float, float]]:
        """Shares to measure on the task, with their agreement on other texts."""
        if self.settings.alpha is not None:
            yield self.settings.alpha, self._agreement(mixer, self.settings.alpha)
            return
        above: tuple[float, float] | None = None  # the smallest share that moves too much
        agreement = -1.0
        for alpha in mixing.ALPHAS:
            # A smaller share agrees more: what a larger one had is enough to know, to save passes.
            if agreement < self.threshold or not self._is_spent():
                agreement = self._agreement(mixer, alpha)
            if agreement < self.threshold:
                if alpha == 1:
                    yield alpha, agreement
                above = alpha, agreement
                continue
            if above is not None:
                between = mixing.share_at(self.threshold, above, (alpha, agreement))
                if between is not None:
                    yield between, self._agreement(mixer, between)
                above = None
            yield alpha, agreement

    def _is_spent(self) -> bool:
        race = self.race
        if race is None or race.allowed is None:
            return False
        return sum(race.passes.values()) > race.allowed

    def _is_late(self) -> bool:
        deadline = None if self.race is None else self.race.deadline
        return deadline is not None and time.monotonic() > deadline

    def _agreement(self, mixer: Mixer, alpha: float) -> float:
        encoded = Encoded(mixer.at(alpha))
        found = self.check.agreement(encoded)
        self._spent(encoded.texts)
        return found

    def _measured(self, model: Any) -> Values:
        encoded = Encoded(model)
        found = self.measure.values(encoded)
        self._spent(encoded.texts)
        return found

    def _fitted(self, entry: Entry) -> Any:
        """The model that a candidate gave."""
        if entry.fitted is not None:
            return entry.fitted.model
        return loaded(self.kept.place(f"full-{entry.place}"), self.settings)

    def _spent(self, texts: int) -> None:
        if self.race is not None:
            self.race.passes["encoding"] += ENCODING * texts

    def _own_texts(self) -> list[str]:
        """Held-out texts of the user's, which are encoded anyway."""
        return [text for texts in self.measure.texts.values() for text in texts][:300]

    def _finished(self) -> list[Entry]:
        return [] if self.race is None else [one for one in self.race.entries if one.is_full]

    # The last figure ------------------------------------------------------------------------------

    def _test(self) -> None:
        """The figure on rows that nothing was chosen by."""
        try:
            measure = self._measure("test")
        except DatasetError as error:
            self.teller.say(f"  note: nothing can be measured on the test rows: {error}")
            return
        before = measure.values(self.start)
        after = before if self.after is self.start else measure.values(self.after)
        self.result["test"] = self._figures(before, after)
        found = self.result["test"]
        self.teller.say(
            f"  test     {measure.metric} {found['before']:.4f} -> {found['after']:.4f} "
            f"({found['gain']:+.4f}, {found['low']:+.4f} to {found['high']:+.4f}) on "
            f"{found['rows']:,} rows"
        )

    @staticmethod
    def _figures(before: Values, after: Values) -> dict[str, Any]:
        found = as_dict(gain(before, after))
        return {
            "before": before.figure,
            "after": after.figure,
            **{name: found[name] for name in ("gain", "low", "high")},
            "rows": before.measure.rows,
        }


def _of_mix(mix: Mix) -> str:
    found = mix.gain
    return (
        f"{mix.values.figure:.4f} ({found.value:+.4f}, {found.low:+.4f} to {found.high:+.4f}), "
        f"agreement {mix.agreement:.4f}"
    )


def _failed(course: Course) -> str:
    reasons = [f"{one.name}: {one.reason}" for one in (course.race.entries if course.race else ())]
    return f"nothing could be trained ({'; '.join(reasons)})"
