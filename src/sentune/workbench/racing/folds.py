"""What candidates are trained on and judged by: one held-out part, or all rows in turn.

Few rows held out show nothing, and with few rows in all there are no more to hold out. So the rows
are then divided into folds: a candidate is trained once without each fold and measured on it (cross
validation), every row counts, and the weights of these trainings are averaged, so every row is
learnt from as well. The average is also better than one training of the same length in all, if each
of them is long enough: on STS benchmark, three of 1.6 epochs gave Spearman 0.8938 and lost less on
other tasks than the better of two of 3.6 epochs, which gave 0.8925; three of 3.9 epochs gave
0.8935 and lost more. So there are folds, too, where the budget is enough and there is only one loss
to try.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentune._lazy import need
from sentune.types import Encoder
from sentune.workbench.measuring.by_form import measure_for
from sentune.workbench.measuring.measure import Measure, Values, texts_of
from sentune.workbench.rows.columns import Rows
from sentune.workbench.rows.prepared import Parts
from sentune.workbench.rows.split import split

FOLDS = 3
FEW = 1500  # rows to train on and to choose by, below which there are folds
MANY = 10_000  # rows of which one part shows enough
WHOLE = 2.5  # passes over the rows that are a whole training


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to measure with.

    Attributes:
        train: The former, a `datasets.Dataset` for each dataset of the run.
        measure: The latter.
    """

    train: tuple[Any, ...]
    measure: Measure


@dataclass(frozen=True)
class HeldOut:
    """All folds.

    Attributes:
        folds: One of them where a part is held out.
        measure: Of the rows of all folds.
    """

    folds: tuple[Fold, ...]
    measure: Measure

    @classmethod
    def one(cls, train: Sequence[Any], measure: Measure) -> HeldOut:
        """A part that is held out, of one dataset or of several."""
        return cls((Fold(tuple(train), measure),), measure)

    @classmethod
    def in_turn(
        cls, parts: Parts, count: int, seed: int, model: Encoder, references: int
    ) -> HeldOut:
        """The rows to train on and to choose by in so many folds; no text is in two of them."""
        datasets = need("datasets", extra="train")
        rows = datasets.concatenate_datasets([parts.rows["train"], parts.rows["dev"]])
        own = Rows.of(rows)
        names = [f"fold {number}" for number in range(1, count)]
        shares = dict.fromkeys(names, 1 / count)
        found = split(own.texts, own.labels, shares, seed)
        places = list(found.parts.values())
        folds = []
        for number, held in enumerate(places):
            others = np.sort(np.concatenate([*places[:number], *places[number + 1 :]]))
            train = rows.select(others)
            measure = measure_for(
                rows.select(held),
                train,
                parts.form,
                groups=found.groups[held],
                model=model,
                references=references,
            )
            folds.append(Fold((train,), measure))
        return cls(tuple(folds), _joined([fold.measure for fold in folds]))

    def values(self, models: Iterable[Encoder]) -> Values:
        """What models give: each on the rows of its fold, before the next one is asked for."""
        rows = [
            fold.measure.values(model).rows for fold, model in zip(self.folds, models, strict=True)
        ]
        return self.values_of(rows)

    def values_of(self, rows: Sequence[Any]) -> Values:
        """The same of what is known for the rows of each fold."""
        found = np.concatenate([np.asarray(one, np.float64) for one in rows])
        return Values(self.measure, found, self.measure.figure_of(found))


def _joined(measures: Sequence[Measure]) -> Measure:
    """The rows of several measures of one kind in one."""
    first = measures[0]
    return Measure(
        first.metric,
        first.explanation,
        texts_of(measures),
        np.concatenate([one.groups for one in measures]),
        np.concatenate([one.targets for one in measures]),
        lambda model, _: np.concatenate([one.values(model).rows for one in measures]),
        first._figure,
    )


def number_of_folds(parts: Parts, passes: float | None, losses: int) -> int:
    """In how many parts the rows are held out in turn; 1 for one part that is held out.

    Args:
        parts: The rows.
        passes: How often they can be trained on, all trainings together; None if that is given.
        losses: How many losses are to be tried.
    """
    count = len(parts.rows["train"]) + len(parts.rows["dev"])
    if "dev" in parts.given or count >= MANY:
        return 1
    # Each row is in all folds but one.
    is_enough = passes is not None and passes >= WHOLE * (FOLDS - 1)
    return FOLDS if count < FEW or (is_enough and losses == 1) else 1
