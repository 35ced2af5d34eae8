"""Which candidates may serve as negatives, and which of them are taken."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from sentune.checks import check_sizes, one_of
from sentune.errors import SettingError

NOTHING = -np.inf  # the score of a candidate that is out


class Candidates(NamedTuple):
    """Documents per query, best first; those that are out have the score `NOTHING`."""

    scores: np.ndarray  # (q, c)
    documents: np.ndarray  # (q, c) places in the corpus

    @property
    def is_in(self) -> np.ndarray:
        """Which of them are not out, `(q, c)`."""
        return self.scores > NOTHING

    def without(self, is_out: np.ndarray) -> Candidates:
        """The same with some of them out."""
        return self._replace(scores=np.where(is_out, NOTHING, self.scores))

    def known(self, dropped: Counter[str]) -> Candidates:
        """The same without those whose score is NaN, which are counted as dropped."""
        is_unknown = np.isnan(self.scores)
        dropped["no_score"] += int(is_unknown.sum())
        return self.without(is_unknown)

    def at(self, places: np.ndarray) -> Candidates:
        """Some of them, by their places `(q, k)` in each row."""
        return Candidates(*(np.take_along_axis(part, places, axis=1) for part in self))


@dataclass(frozen=True)
class Limits:
    """What keeps a candidate out, and how many are taken; arguments of `mine_hard_negatives`."""

    num_negatives: int
    range_min: int
    range_max: int | None
    max_score: float | None
    min_score: float | None
    absolute_margin: float | None
    relative_margin: float | None
    sampling_strategy: Literal["top", "random"]

    def __post_init__(self) -> None:
        check_sizes(num_negatives=self.num_negatives)
        one_of("sampling_strategy", self.sampling_strategy, ("top", "random"))
        if self.range_min < 0:
            raise SettingError(f"range_min must be at least 0, got {self.range_min}")
        if self.range_max is not None and self.range_max - self.range_min < self.num_negatives:
            raise SettingError(
                f"from rank {self.range_min} to {self.range_max} there is no space for "
                f"{self.num_negatives} negatives; raise range_max, or lower range_min or "
                "num_negatives"
            )

    @property
    def by_score(self) -> dict[str, float]:
        """The limits on scores that are set, in the order in which they are looked at."""
        names = ("absolute_margin", "relative_margin", "max_score", "min_score")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def with_range(self, max_positives: int, is_rescored: bool) -> Limits:
        """The same with a `range_max`: enough for the positives, and more where some drop out."""
        if self.range_max is not None:
            return self
        # The nearest are the last that min_score drops, unless they are scored again.
        needs_more = self.by_score.keys() - (set() if is_rescored else {"min_score"})
        wanted = self.num_negatives * (10 if needs_more else 1)
        return replace(self, range_max=self.range_min + wanted + max_positives)

    def allowed(
        self, candidates: Candidates, lowest: np.ndarray, dropped: Counter[str]
    ) -> Candidates:
        """The candidates without those whose score is outside of a limit.

        Args:
            candidates: Without own texts and positives.
            lowest: For each query the lowest score of a positive, `(q,)`. Where it is NaN, nothing
                is known to be far enough below it.
            dropped: Counts for each limit what it keeps out; a candidate counts once.
        """
        scores = candidates.scores.copy()
        lowest = lowest[:, None].astype(scores.dtype)
        is_allowed = {
            "absolute_margin": lambda limit: scores + limit <= lowest,
            "relative_margin": lambda limit: scores <= lowest - abs(lowest) * limit,
            "max_score": lambda limit: scores <= limit,
            "min_score": lambda limit: scores >= limit,
        }
        for name, limit in self.by_score.items():
            is_out = (scores > NOTHING) & ~is_allowed[name](limit)
            scores[is_out] = NOTHING
            dropped[name] += int(is_out.sum())
        return candidates._replace(scores=scores)

    def picked(self, candidates: Candidates, dropped: Counter[str]) -> Candidates:
        """`num_negatives` candidates per query, `(q, num_negatives)`, best first.

        Args:
            candidates: Those that are allowed.
            dropped: Counts what lies before `range_min` and behind `range_max`.
        """
        order = np.argsort(-candidates.scores, axis=1, kind="stable")
        ranked = candidates.at(order)
        dropped["range_min"] += int(ranked.is_in[:, : self.range_min].sum())
        dropped["range_max"] += int(ranked.is_in[:, self.range_max :].sum())
        fill = ((0, 0), (0, max(0, (self.range_max or 0) - ranked.scores.shape[1])))
        ranks = slice(self.range_min, self.range_max)
        ranked = Candidates(
            np.pad(ranked.scores, fill, constant_values=NOTHING)[:, ranks],
            np.pad(ranked.documents, fill)[:, ranks],
        )
        count = self.num_negatives
        if self.sampling_strategy == "top":
            return Candidates(ranked.scores[:, :count], ranked.documents[:, :count])
        options = np.maximum(ranked.is_in.sum(axis=1), count).tolist()
        return ranked.at(np.sort([random.sample(range(n), k=count) for n in options], axis=1))
