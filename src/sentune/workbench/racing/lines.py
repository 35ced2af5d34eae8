"""From the start to what was trained: the shares on that line which are measured.

A line leads from the weights of the start to those of a candidate, or to the average of several.
Every share of it is a model. Which ones are measured is decided by what they do to other texts
(`general.Check`), and by what the larger shares gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.measuring.general import Check
from sentune.workbench.measuring.measure import Values, gain
from sentune.workbench.racing import mixing
from sentune.workbench.racing.decision import Mix
from sentune.workbench.racing.mixing import Mixer
from sentune.workbench.racing.race import ENCODING, Entry, Race, loaded

_APART = 0.04  # shares that are worth a look each


@dataclass
class Line:
    """The way from the start to the average of some candidates.

    Attributes:
        entries: These candidates, the best first.
        race: In which they were trained.
    """

    entries: Sequence[Entry]
    race: Race

    @property
    def name(self) -> str:
        """What it is called."""
        names = [one.name for one in self.entries]
        return names[0] if len(names) == 1 else f"average of {' and '.join(names)}"

    @property
    def known(self) -> Values | None:
        """What all of the trained weights give, where that was measured in the race."""
        return self.entries[0].values if len(self.entries) == 1 else None

    @cached_property
    def mixer(self) -> Mixer:
        """Brings a model to any share."""
        folds = range(len(self.race.held_out.folds))
        start = mixing.weights_of(self.race.start.model)
        model = self._loaded(self.entries[0], 0)
        if len(self.entries) * len(folds) == 1:
            kept = [mixing.weights_of(model)]
            return Mixer(model, start, [lambda: kept])
        return Mixer(model, start, [self._weights_of(fold) for fold in folds])

    def _weights_of(self, fold: int) -> Callable[[], Sequence[mixing.Weights]]:
        return lambda: [mixing.weights_of(self._loaded(one, fold)) for one in self.entries]

    def _loaded(self, entry: Entry, fold: int) -> Any:
        return loaded(self._folder(entry, fold), self.race.settings)

    def _folder(self, entry: Entry, fold: int) -> Path:
        return self.race.kept.place(self.race.key_of(entry, "full", fold))


@dataclass
class Looking:
    """Measures shares of lines.

    Attributes:
        race: Whose passes are counted.
        check: What shares do to other texts.
        threshold: The least agreement with the start on these.
    """

    race: Race
    check: Check
    threshold: float

    def at(self, line: Line, place: int, alpha: float) -> Mix:
        """One share."""
        return self._mix(line, place, alpha, self._agreement(line, alpha))

    def along(self, line: Line, place: int) -> Iterator[Mix]:
        """Shares, the largest first.

        Those that move other texts too much are not measured on the task, but for the trained
        weights themselves, whose figure is there. Below a share that is worse by more than its
        error, smaller ones are left out. With folds, whose weights are averaged anyway, the first
        that agrees is the only one: the more looks at few rows, the less they prove.
        """
        best: Mix | None = None
        for alpha, agreement in self._agreeing(line):
            mix = self._mix(line, place, alpha, agreement)
            yield mix
            if not mix.passes:
                continue
            if self.race.has_folds:
                return
            if best is None or mix.values.figure > best.values.figure:
                best = mix
            behind = gain(mix.values, best.values)
            if behind.value > behind.error:
                return

    def _mix(self, line: Line, place: int, alpha: float, agreement: float) -> Mix:
        values = line.known if alpha == 1 else None
        values = values or self._values(line, alpha)
        found = gain(self.race.before, values)
        return Mix(place, alpha, values, found, agreement, agreement >= self.threshold)

    def _agreeing(self, line: Line) -> Iterator[tuple[float, float]]:
        """Shares to measure on the task, with their agreement on other texts."""
        largest, *others = mixing.ALPHAS
        alpha, agreement = largest, self._agreement(line, largest)
        if agreement < self.threshold and line.known is not None:
            yield alpha, agreement
        while agreement < self.threshold:
            alpha = mixing.share_at(self.threshold, alpha, agreement)
            if alpha < others[-1]:
                return
            agreement = self._agreement(line, alpha)
        yield alpha, agreement
        for smaller in [one for one in others if one < alpha - _APART]:
            # A smaller share agrees more: what a larger one had is enough to know, to save passes.
            if not self.race.is_spent:
                agreement = self._agreement(line, smaller)
            yield smaller, agreement

    def _agreement(self, line: Line, alpha: float) -> float:
        encoded = Encoded(line.mixer.at(alpha))
        found = self.check.agreement(encoded)
        self._count(encoded)
        return found

    def _values(self, line: Line, alpha: float) -> Values:
        """What a share gives, each fold's own on the rows of that fold."""
        return self.race.held_out.values(self._each_fold(line, alpha))

    def _each_fold(self, line: Line, alpha: float) -> Iterator[Encoded]:
        """The models of the folds, one after another in the same place."""
        for fold in range(len(self.race.held_out.folds)):
            encoded = Encoded(line.mixer.at(alpha, fold))
            yield encoded
            self._count(encoded)

    def _count(self, encoded: Encoded) -> None:
        self.race.passes["encoding"] += ENCODING * encoded.texts
