"""What mining negatives came to: how many there are, and what was dropped and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sentune.search.limits import Limits

_REASONS = {
    "no_score": "no score (NaN)",
    "positive": "positive of the anchor",
    "same_text": "same text as the anchor or a positive (apart from case, spaces, punctuation)",
    "absolute_margin": "less than absolute_margin={} below the anchor's lowest positive",
    "relative_margin": "less than relative_margin={} below the anchor's lowest positive",
    "max_score": "score above max_score={}",
    "min_score": "score below min_score={}",
    "range_min": "among the first {} that remained (range_min)",
    "range_max": "behind rank {} of those that remained (range_max)",
}


@dataclass(frozen=True)
class MiningReport:
    """What `mine_hard_negatives` found, and what it dropped.

    `print` shows it in words.

    Args:
        anchors: Different anchors.
        documents: Different documents that negatives were looked for in.
        positives: Pairs of an anchor and a positive, each once.
        looked_at: Candidates, of all anchors together: the nearest documents of each.
        dropped: For each reason how many candidates: "no_score" (NaN), "positive", "same_text", the
            limits "absolute_margin", "relative_margin", "max_score" and "min_score", "range_min"
            and "range_max". A candidate counts for the first reason only. Candidates that are not
            dropped are more than were needed, or negatives.
        negatives: Negatives that were taken, of all anchors together.
        too_few: Anchors with fewer negatives than wanted; the formats "triplet" and "labeled-list"
            have those there are, "n-tuple" leaves the anchor out.
        without: Anchors with none, which are among those with too few.
        limits: The settings of ranks and scores, with the `range_max` that was chosen.
        scores: Of "positive" and "negative" the mean, min, median and max score; without NaN.
    """

    anchors: int
    documents: int
    positives: int
    looked_at: int
    dropped: dict[str, int]
    negatives: int
    too_few: int
    without: int
    limits: Limits
    scores: dict[str, dict[str, float]]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        yield (
            f"{self.anchors:,} anchors with {self.positives:,} positives; "
            f"{self.documents:,} documents to find negatives in"
        )
        yield f"The nearest documents of the anchors, {self.looked_at:,} in all, without these:"
        for name, reason in _REASONS.items():
            if count := self.dropped.get(name, 0):
                yield f"  {count:>10,}  {reason.format(getattr(self.limits, name, ''))}"
        yield f"{self.negatives:,} negatives ({self.limits.sampling_strategy} of what remained)"
        for side, values in self.scores.items():
            words = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
            yield f"  {side} scores: {words}"
        if self.too_few:
            yield (
                f"{self.too_few:,} anchors have fewer than {self.limits.num_negatives} negatives, "
                f"{self.without:,} of them none. To find more: {self._advice()}."
            )

    def _advice(self) -> str:
        """What lets more candidates through, the largest loss first."""
        words = {
            "absolute_margin": "lower absolute_margin",
            "relative_margin": "lower relative_margin",
            "max_score": "raise max_score",
            "min_score": "lower min_score",
            "range_min": "lower range_min",
        }
        losses = sorted((-self.dropped.get(name, 0), name) for name in words)
        advice = [words[name] for loss, name in losses if loss]
        return ", ".join([*advice, "raise range_max", "give a larger corpus"])


def summary(scores: Iterable[np.ndarray]) -> dict[str, float]:
    """The mean, min, median and max of scores in parts; NaN counts for nothing."""
    values = np.concatenate([np.ravel(part) for part in scores])
    values = values[np.isfinite(values)].astype(np.float64)
    if not len(values):
        return {}
    found = {"mean": values.mean(), "min": values.min(), "median": np.median(values)}
    return {name: float(value) for name, value in {**found, "max": values.max()}.items()}
