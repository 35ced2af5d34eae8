"""Whether a trained model is better than the start by more than chance, and which one is taken.

Several candidates and several shares of the trained weights are looked at on the same held-out
rows, and the best of many looks better than it is. So the bar is not two standard errors but what
the best of them all would reach by chance (max-T: Westfall and Young, Resampling-Based Multiple
Testing, 1993): the gains of all are drawn by one bootstrap, and the bar is the 95% quantile of
the largest of them, each in its own standard errors and around its own mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sentune.workbench.measuring.measure import Interval, Values, draws, is_as_good

CHANCE = 0.05  # that the best of all passes without being better
LEAST_ERRORS = 2.0  # of the gain, whatever the bootstrap says
FEWEST_ROWS = 30  # groups of rows on which anything can be shown
_ROUNDS = 1000


@dataclass(frozen=True)
class Mix:
    """A share of the trained weights, and what was measured of it.

    Attributes:
        place: Number of the candidate whose weights they are.
        alpha: Share of the trained weights.
        values: On the held-out rows.
        gain: Over the start.
        agreement: With the start, on texts that are not of the task.
        passes: Whether that is enough.
    """

    place: int
    alpha: float
    values: Values
    gain: Interval
    agreement: float
    passes: bool


Cause = Literal[
    "gain",  # a mix is better by more than chance
    "asked",  # alpha is given
    "stopped",  # before the first training was done
    "failed",  # all trainings
    "few_rows",
    "no_gain",
    "chance",  # the best gain may be chance
    "forgot",  # all that was measured lost too much of what the start knew
    "better_but_forgot",  # and something of that is better than the start by more than chance
]


@dataclass(frozen=True)
class Choice:
    """What is kept: a mix, or None for the start, and why.

    Attributes:
        mix: What is kept.
        cause: Why, as a word that a program can read.
        reason: Why, in a sentence.
    """

    mix: Mix | None
    cause: Cause
    reason: str


def bar(before: Values, tried: Sequence[Values], seed: int = 12) -> float:
    """How many standard errors above the start the best of several must be.

    Args:
        before: Of the start.
        tried: Of everything that was looked at on the same rows.
        seed: Of the bootstrap.
    """
    drawn = _drawn_gains(before, tried, seed)  # (rounds, models)
    error = drawn.std(axis=0, ddof=1)
    moved = drawn[:, error > 0]
    if not moved.shape[1]:
        return LEAST_ERRORS
    largest = ((moved - moved.mean(axis=0)) / error[error > 0]).max(axis=1)
    return max(LEAST_ERRORS, float(np.quantile(largest, 1 - CHANCE)))


def choose(
    before: Values, mixes: Sequence[Mix], errors: float, *, is_cut_short: bool = False
) -> Choice:
    """The mix to keep, or the start.

    Of the mixes that agree with the start on other texts, and are above it by so many standard
    errors, the best on the held-out rows. But a larger share of the same trained weights that is
    less than one standard error behind is taken instead: what was learnt helps on new rows more
    often than it does not (of Python's documentation, 0.008 of MRR@10 between 0.75 and all of the
    weights), and a few hundred held-out rows do not show that.

    Args:
        before: Of the start.
        mixes: All that were measured.
        errors: The bar.
        is_cut_short: Whether more mixes would have been measured if there had been time.
    """
    groups = len(np.unique(before.measure.groups))
    if groups < FEWEST_ROWS:
        return Choice(
            None,
            "few_rows",
            f"only {groups} held-out rows share no text, and at least {FEWEST_ROWS} are needed to "
            "show a gain; give more data, or held-out rows in a file of their own",
        )
    allowed = [mix for mix in mixes if mix.passes]
    proven = [mix for mix in allowed if is_proven(mix.gain, errors)]
    if not proven:
        return _start_kept(mixes, errors, is_cut_short)
    leading = max(proven, key=_figure)
    alike = [mix for mix in proven if mix.place == leading.place]
    as_good = [mix for mix in alike if is_as_good(mix.values, leading.values)]
    chosen = max(as_good, key=lambda mix: mix.alpha)
    return Choice(
        chosen,
        "gain",
        f"{chosen.gain.value:+.4f} over the start on {before.measure.rows} held-out rows, between "
        f"{chosen.gain.low:+.4f} and {chosen.gain.high:+.4f}",
    )


def is_proven(found: Interval, errors: float) -> bool:
    """Whether a gain is above chance."""
    is_sure = np.isfinite(found.error) and found.error > 0
    return bool(is_sure and found.value > errors * found.error and found.low > 0)


def _start_kept(mixes: Sequence[Mix], errors: float, is_cut_short: bool) -> Choice:
    """Why none of the mixes is taken: the best forgot too much, or shows no gain."""
    forgot = [mix for mix in mixes if not mix.passes]
    better = [mix for mix in forgot if is_proven(mix.gain, errors)]
    if better or len(forgot) == len(mixes):
        best = max(better or forgot, key=_figure)
        cause: Cause = "better_but_forgot" if better else "forgot"
        return Choice(None, cause, _forgot_words(best, is_cut_short))
    best = max((mix for mix in mixes if mix.passes), key=_figure)
    found = best.gain
    if found.value <= 0:
        words = f"nothing was better than the start: the best was {found.value:+.4f}"
        return Choice(None, "no_gain", words)
    return Choice(
        None,
        "chance",
        f"the best gain, {_gain_words(found)}, may be chance: it must be above "
        f"{errors * found.error:.4f}, {errors:.1f} standard errors; more rows, or a larger budget, "
        "may show more",
    )


def _forgot_words(best: Mix, is_cut_short: bool) -> str:
    words = (
        f"what was measured best, {_gain_words(best.gain)}, lost too much of what the model knew "
        f"before: its agreement with the start on general texts is {best.agreement:.4f}"
    )
    if is_cut_short:
        return (
            f"{words}; no time was left to measure smaller shares of its weights, which keep more: "
            "give a larger --budget, or a lower --agreement"
        )
    return f"{words}; a lower --agreement allows that"


def _gain_words(found: Interval) -> str:
    return f"{found.value:+.4f} (between {found.low:+.4f} and {found.high:+.4f})"


def _figure(mix: Mix) -> float:
    return mix.values.figure


def _drawn_gains(before: Values, tried: Sequence[Values], seed: int) -> NDArray[np.float64]:
    measure = before.measure
    rows = []
    for chosen in draws(measure.groups, seed, _ROUNDS):
        base = measure.figure_of(before.rows, chosen)
        rows.append([measure.figure_of(one.rows, chosen) - base for one in tried])
    found = np.asarray(rows)
    return found[np.isfinite(found).all(axis=1)]
