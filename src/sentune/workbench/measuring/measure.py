"""What a model gives on held-out rows, and how sure it is that another one is better.

A `Measure` holds the rows. A model gives it `Values`: a number for each row, and the figure made of
them. The values of two models on the same rows are compared row by row, so that what is hard or
easy for both does not hide the difference (a paired bootstrap: Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 16). Rows that share a text are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sentune.errors import DatasetError
from sentune.types import Encoder
from sentune.vectors.tensors import to_tensor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 1000  # of the bootstrap
SHARE = 0.95  # of the rounds that an interval holds

Figure = Callable[[Floats, Floats], float]  # values (n,), targets (n,) -> a figure


@dataclass(frozen=True)
class Interval:
    """A figure and how sure it is.

    Attributes:
        value: The figure, or the difference of two.
        low: Lower end of the interval that holds 95% of the bootstrap's rounds.
        high: Upper end.
        error: Standard deviation over the rounds.
    """

    value: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Values:
    """What a model gives on held-out rows.

    Attributes:
        measure: The rows.
        rows: `(n,)`, the cosine of a pair, or how well a row is solved, from 0 to 1.
        figure: All of them in one number; higher is better.
    """

    measure: Measure
    rows: Floats
    figure: float

    @property
    def parts(self) -> list[Values]:
        """Those of each dataset; of one these are its own."""
        measure = self.measure
        return measure.parts_of(self.rows) if isinstance(measure, Together) else [self]


@dataclass(frozen=True)
class Measure:
    """Held-out rows of one form, and the figure of a model on them.

    Attributes:
        metric: Its name, as "Spearman".
        explanation: What it says, in a sentence.
        texts: All texts that are encoded, each once for each role.
        groups: `(n,)`, a number for each row; rows that share a text have the same.
        targets: `(n,)`, what the values are compared with; zeros where a value says all.
    """

    metric: str
    explanation: str
    texts: Mapping[str, Sequence[str]]  # role -> texts
    groups: Ints
    targets: Floats
    _rows: Callable[[Encoder, Mapping[str, Tensor]], Floats] = field(repr=False)
    _figure: Figure = field(repr=False)

    @property
    def rows(self) -> int:
        """How many rows are measured."""
        return len(self.groups)

    def values(self, model: Encoder) -> Values:
        """What a model gives on the rows."""
        encoded = {role: _encode(model, role, texts) for role, texts in self.texts.items()}
        rows = self._rows(model, encoded)
        return Values(self, rows, self.figure_of(rows))

    def figure_of(self, rows: Floats, chosen: Ints | None = None) -> float:
        """The figure of the values of some rows `(m,)`; None for all, each once."""
        targets = self.targets
        if chosen is not None:
            rows, targets = rows[chosen], targets[chosen]
        return self._figure(rows, targets) if np.isfinite(rows).all() else float("nan")


@dataclass(frozen=True)
class Together(Measure):
    """Measures of several datasets: the figure is the mean of theirs.

    Attributes:
        measures: Of each dataset.
    """

    measures: tuple[Measure, ...] = ()

    @classmethod
    def of(cls, measures: Sequence[Measure]) -> Measure:
        """The one there is, or several together."""
        if len(measures) == 1:
            return measures[0]
        starts = np.cumsum([0, *(one.groups.max() + 1 for one in measures)])
        groups = [start + one.groups for start, one in zip(starts, measures, strict=False)]
        return cls(
            f"mean of {len(measures)} figures",
            "; ".join(f"{one.metric}: {one.explanation}" for one in measures),
            texts_of(measures),
            np.concatenate(groups),
            np.concatenate([one.targets for one in measures]),
            lambda model, _: np.concatenate([one.values(model).rows for one in measures]),
            measures[0]._figure,  # not asked: each has its own
            tuple(measures),
        )

    def figure_of(self, rows: Floats, chosen: Ints | None = None) -> float:
        """As of one measure."""
        return float(np.mean([one.figure for one in self.parts_of(rows, chosen)]))

    def parts_of(self, rows: Floats, chosen: Ints | None = None) -> list[Values]:
        """The values of each dataset among those of all."""
        ends = np.cumsum([one.rows for one in self.measures])
        found = []
        for one, end in zip(self.measures, ends, strict=True):
            own = rows[end - one.rows : end]
            places = None
            if chosen is not None:
                places = chosen[(chosen >= end - one.rows) & (chosen < end)] - (end - one.rows)
            is_there = places is None or len(places) > 0
            figure = one.figure_of(own, places) if is_there else float("nan")
            found.append(Values(one, own, figure))
        return found


def texts_of(measures: Sequence[Measure]) -> dict[str, list[str]]:
    """The texts of several measures, each once for each role."""
    return {
        role: list(dict.fromkeys(text for one in measures for text in one.texts.get(role, ())))
        for role in dict.fromkeys(role for one in measures for role in one.texts)
    }


def interval(values: Values, seed: int = 12, rounds: int = ROUNDS) -> Interval:
    """The figure of one model and its bootstrap interval."""
    return _interval([values], [], seed, rounds)


def gain(
    before: Values | Sequence[Values],
    after: Values | Sequence[Values],
    seed: int = 12,
    rounds: int = ROUNDS,
) -> Interval:
    """How much better one model is than another on the same rows, by a paired bootstrap.

    Args:
        before: Of one model, or of several of which the mean counts, as of several seeds.
        after: The same of the other.
        seed: Of the rounds.
        rounds: How often rows are drawn.

    Raises:
        DatasetError: If the values are not all of the same rows.
    """
    first, second = ([one] if isinstance(one, Values) else list(one) for one in (before, after))
    if any(values.measure is not first[0].measure for values in (*first, *second)):
        raise DatasetError("the models were measured on different rows")
    return _interval(second, first, seed, rounds)


def is_as_good(values: Values, best: Values) -> bool:
    """Whether a model is behind another by one standard error of the difference at most."""
    if values is best:
        return True
    behind = gain(values, best)
    return behind.value <= behind.error


def _interval(values: Sequence[Values], base: Sequence[Values], seed: int, rounds: int) -> Interval:
    measure = values[0].measure

    def mean(some: Sequence[Values], chosen: Ints | None) -> float:
        return sum(measure.figure_of(one.rows, chosen) for one in some) / max(1, len(some))

    def figure(chosen: Ints | None) -> float:
        return mean(values, chosen) - mean(base, chosen)

    drawn = np.array([figure(chosen) for chosen in draws(measure.groups, seed, rounds)])
    edge = (1 - SHARE) / 2
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2:
        return Interval(figure(None), *3 * (float("nan"),))
    low, high = np.quantile(drawn, (edge, 1 - edge))
    value = figure(None)
    # Most rounds may be on one side of the figure itself, as with few rows and a correlation.
    low, high = min(float(low), value), max(float(high), value)
    return Interval(value, low, high, float(drawn.std(ddof=1)))


def draws(groups: Ints, seed: int, rounds: int) -> Any:
    """Rows of as many groups as there are, drawn with replacement."""
    _, number = np.unique(groups, return_inverse=True)
    order = np.argsort(number, kind="stable")
    sizes = np.bincount(number)
    starts = np.cumsum(sizes) - sizes
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        chosen = random.integers(0, len(sizes), len(sizes))
        counts = sizes[chosen]
        # The rows of each chosen group: its start, and on from there.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield order[np.repeat(starts[chosen], counts) + within]


def _encode(model: Encoder, role: str, texts: Sequence[str]) -> Tensor:
    encode = {"query": model.encode_query, "document": model.encode_document}
    vectors = encode.get(role, model.encode)(list(texts), convert_to_tensor=True)
    return to_tensor(vectors).float().cpu()
