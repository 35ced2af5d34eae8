"""Which candidates may serve as negatives, and which of them are taken."""

from __future__ import annotations

import random
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
    def uses_scores(self) -> bool:
        """Whether scores keep candidates out."""
        return any(value is not None for _, value in self._by_score())

    def with_range(self, max_positives: int, is_rescored: bool) -> Limits:
        """The same with a `range_max`: enough for the positives, and more where some drop out."""
        if self.range_max is not None:
            return self
        needs_more = any(
            value is not None and (name != "min_score" or is_rescored)
            for name, value in self._by_score()
        )
        wanted = self.num_negatives * (10 if needs_more else 1)
        return replace(self, range_max=self.range_min + wanted + max_positives)

    def choose(
        self, candidates: Candidates, positive_scores: np.ndarray
    ) -> tuple[Candidates, dict[str, int]]:
        """`num_negatives` candidates per query, and how many each limit kept out.

        Positives among the candidates are already out; `positive_scores (q,)` has, for each query,
        the lowest score of a positive.
        """
        scores = candidates.scores.copy()
        lowest = positive_scores[:, None].astype(scores.dtype)
        skipped = {}
        for name, limit in self._by_score():
            if limit is None:
                continue
            is_out = np.isfinite(scores) & {
                "absolute_margin": lambda limit: scores + limit > lowest,
                "relative_margin": lambda limit: scores > lowest - abs(lowest) * limit,
                "max_score": lambda limit: scores > limit,
                "min_score": lambda limit: scores < limit,
            }[name](limit)
            scores[is_out] = NOTHING
            skipped[name] = int(is_out.sum())
        return self._taken(self._ranked(scores, candidates.documents)), skipped

    def _by_score(self) -> list[tuple[str, float | None]]:
        names = ("absolute_margin", "relative_margin", "max_score", "min_score")
        return [(name, getattr(self, name)) for name in names]

    def _ranked(self, scores: np.ndarray, documents: np.ndarray) -> Candidates:
        """Best first, from `range_min` to `range_max`; filled up where there are fewer."""
        order = np.argsort(-scores, axis=1, kind="stable")
        fill = ((0, 0), (0, max(0, (self.range_max or 0) - scores.shape[1])))
        ranks = slice(self.range_min, self.range_max)
        return Candidates(
            np.pad(np.take_along_axis(scores, order, 1), fill, constant_values=NOTHING)[:, ranks],
            np.pad(np.take_along_axis(documents, order, 1), fill)[:, ranks],
        )

    def _taken(self, ranked: Candidates) -> Candidates:
        count = self.num_negatives
        if self.sampling_strategy == "top":
            return Candidates(ranked.scores[:, :count], ranked.documents[:, :count])
        options = np.maximum(np.isfinite(ranked.scores).sum(axis=1), count).tolist()
        places = np.sort([random.sample(range(n), k=count) for n in options], axis=1)
        return Candidates(
            np.take_along_axis(ranked.scores, places, 1),
            np.take_along_axis(ranked.documents, places, 1),
        )
