"""Which losses are tried for which form of data, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sentune.data import forms
from sentune.data.forms import Form
from sentune.errors import SettingError
from sentune.losses import fitting
from sentune.workbench.racing.anchors import WEIGHT
from sentune.workbench.rows import forms_turned
from sentune.workbench.rows.forms_turned import AS_IT_IS
from sentune.workbench.settings import OF_A_CANDIDATE

# Two texts of a batch that are equal would be each other's negatives.
_APART = "no_duplicates"
_BY_CLASS = "group_by_label"
_SMALL = 16  # rows in a batch, where there are few in all
_RATES = (5e-5, 2e-5)  # tried for a loss that is in no row of the table


@dataclass(frozen=True)
class Candidate:
    """A way to train: a loss with its settings, and what the data are turned into for it.

    Args:
        loss: Name of a public loss.
        learning_rate: Highest rate; it rises during the warm-up and falls to 0 afterwards.
        batch_size: Rows in a batch.
        data_as: What the data are turned into, a name in `forms_turned.TURNS`.
        loss_settings: Arguments of the loss, as plain values.
        data_settings: Arguments of the turn.
        sampler: A `BatchSamplers` value.
        warmup: Share of the steps that warm up.
        weight_decay: Of the optimizer.
        anchor_weight: Price of moving the texts that are to stay where they are.
        steps: Of the optimizer; None for what the budget allows.
        also: How the other datasets of the run are trained on, in their order. Loss, batches and
            turn are their own; rate, warm-up and steps are those of the first.
    """

    loss: str
    learning_rate: float
    batch_size: int
    data_as: str = AS_IT_IS
    loss_settings: Mapping[str, Any] = field(default_factory=dict)
    data_settings: Mapping[str, Any] = field(default_factory=dict)
    sampler: str = "batch_sampler"
    warmup: float = 0.1
    weight_decay: float = 0.0
    anchor_weight: float = WEIGHT
    steps: int | None = None
    also: tuple[Candidate, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{' + '.join(one._loss_and_turn for one in self.each)}, {self.learning_rate:g}"

    @property
    def _loss_and_turn(self) -> str:
        return self.loss if self.data_as == AS_IT_IS else f"{self.loss} on {self.data_as}"

    @property
    def each(self) -> tuple[Candidate, ...]:
        """How each dataset is trained on."""
        return (self, *self.also)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings as plain values."""
        found = {name: _plain(value) for name, value in asdict(self).items()}
        return {**found, "also": [without_empty(one.settings) for one in self.also]}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Candidate:
        """The candidate with these settings, as `settings` gives them."""
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in settings.items() if name in known}
        return cls(**{**found, "also": tuple(map(cls.of, found.get("also", ())))})


def without_empty(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say something."""
    return {name: value for name, value in settings.items() if value not in ({}, [], None)}


def _rates(
    loss: str, batch_size: int, rates: Any = _RATES, **options: Any
) -> tuple[Candidate, ...]:
    return tuple(Candidate(loss, rate, batch_size, **options) for rate in rates)


_RANKING = "MultipleNegativesRankingLoss"
_HIGH = (1e-4, 5e-5)
_COSINE = _rates("CosineSimilarityLoss", 16)
_CONTRASTIVE = {"margin": 0.5}
_BY_CLASSES: dict[str, Any] = {"loss_settings": {"temperature": 0.1}, "sampler": _BY_CLASS}
# Pairs move much at rates that teach the task best, so moving other texts costs more: of Python's
# documentation more is learnt at the same agreement, and Spearman on STS pairs rises by 0.001.
_SEARCH: dict[str, Any] = {"sampler": _APART, "anchor_weight": 3 * WEIGHT}

# Form -> what is tried, the first choice first. BatchAllTripletLoss is not among them: it made
# models worse on banking77 and cost most of their other abilities on TREC.
CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    forms.TEXT_AND_CLASS.name: (
        *_rates("SupervisedContrastiveLoss", 32, _HIGH, **_BY_CLASSES),
        Candidate(_RANKING, 5e-5, 32, forms_turned.PAIRS_OF_A_CLASS, sampler=_APART),
    ),
    forms.PAIR_AND_SCORE.name: _COSINE,
    forms.PAIR_AND_MATCH.name: (
        Candidate("CoSENTLoss", 2e-4, 32),
        Candidate("OnlineContrastiveLoss", 1e-4, 32, loss_settings=_CONTRASTIVE),
        Candidate(_RANKING, 5e-5, 64, forms_turned.MATCHES, sampler=_APART),
    ),
    forms.PAIR_AND_CLASS.name: (
        *_rates(_RANKING, 32, _HIGH, data_as=forms_turned.TRIPLETS_OF_CLASSES, sampler=_APART),
        Candidate("CosineSimilarityLoss", 2e-5, 16, forms_turned.GRADES),
    ),
    forms.PAIR.name: (
        Candidate(_RANKING, 1e-4, 64, **_SEARCH),
        Candidate(_RANKING, 2e-4, 128, **_SEARCH),
        Candidate(_RANKING, 1e-4, 32, forms_turned.MINED, **_SEARCH),
    ),
    forms.TRIPLET.name: (
        *_rates(_RANKING, 32, _HIGH, sampler=_APART),
        Candidate(
            "TripletLoss",
            5e-5,
            16,
            loss_settings={"distance_metric": "cosine", "triplet_margin": 0.2},
        ),
    ),
    forms.NEGATIVES.name: _rates(_RANKING, 16, sampler=_APART),
    forms.TEXT.name: (
        *_rates(_RANKING, 32, data_as=forms_turned.HALVES, sampler=_APART),
        Candidate(_RANKING, 2e-5, 32, forms_turned.TWICE, sampler=_APART),
    ),
    forms.TEACHER_SCORES.name: _rates("DistillKLDivLoss", 16),
    forms.TEACHER_MARGINS.name: _rates("MarginMSELoss", 16),
    forms.TEACHER_EMBEDDING.name: _rates("MSELoss", 32),
}

# 0 and 1 are scores and classes as well.
_AS_WELL = (forms.PAIR_AND_SCORE, forms.PAIR_AND_CLASS)

# What a user may fix of every candidate; the loss and its arguments are merged with the table.
_FIXABLE = tuple(name for name in OF_A_CANDIDATE if name not in ("loss", "loss_settings"))
# What only data of some forms can have.
_OF_A_FORM = ("loss", "loss_settings", "data_as", "data_settings", "sampler")


def candidates(
    form: Form, fixed: Mapping[str, Any], *, is_one: bool = False
) -> tuple[Candidate, ...]:
    """What is to be tried for data of a form, without doubles.

    Args:
        form: Of the data.
        fixed: What is not to be chosen: fields of `Candidate`; None where it is.
        is_one: Whether the rows are so few that there is no choice: the first of the table then,
            in small batches and at its highest rate, since there are few steps.

    Raises:
        SettingError: If there is no such loss, or it cannot learn from such data.
    """
    fixed = {name: value for name, value in fixed.items() if value is not None}
    loss = fixed.get("loss")
    table = CANDIDATES.get(form.name, ())
    if loss is not None:
        fitting.check_loss(loss)
        table = tuple(one for one in table if one.loss == loss) or _made_up(loss, form, fixed)
    turn = fixed.get("data_as")
    if turn is not None:
        forms_turned.check(turn, form)
        of_turn = tuple(one for one in table if one.data_as == turn)
        table = of_turn or _of_turn(loss, turn, form)
    if is_one:
        table = (_for_few(table),) if table else ()
    named = {name: fixed[name] for name in _FIXABLE if name in fixed}
    found = [replace(one, **named, loss_settings=_merged(one, fixed)) for one in table]
    return tuple(one for place, one in enumerate(found) if one not in found[:place])


def joint(forms_of: Sequence[Form], fixed: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """What is to be tried for several datasets, each of its form.

    The first choices for all forms are one candidate, the second choices the next, and so on; where
    a form has fewer, its first choice stays.

    Args:
        forms_of: The form of each dataset.
        fixed: As for `candidates`; a loss, and what the rows are turned into, are for the datasets
            that can be used so.

    Raises:
        SettingError: If no dataset can be used so.
    """
    tables, errors = [], []
    for form in forms_of:
        try:
            tables.append(candidates(form, fixed))
        except SettingError as error:
            errors.append(error)
            others = {name: value for name, value in fixed.items() if name not in _OF_A_FORM}
            tables.append(candidates(form, others))
        check_any(tables[-1], form)
    if len(errors) == len(forms_of):
        raise errors[0]
    first, *more = tables
    found = [
        _with_others(first[place % len(first)], [own[place % len(own)] for own in more])
        for place in range(max(map(len, tables)))
    ]
    return tuple(one for place, one in enumerate(found) if one not in found[:place])


def _with_others(first: Candidate, others: Sequence[Candidate]) -> Candidate:
    """A candidate for several datasets; there is one optimizer."""
    shared = {name: getattr(first, name) for name in ("learning_rate", "warmup", "weight_decay")}
    return replace(first, also=tuple(replace(one, **shared) for one in others))


def _for_few(table: tuple[Candidate, ...]) -> Candidate:
    first = table[0]
    kind = (first.loss, first.data_as, first.batch_size)
    alike = [one for one in table if (one.loss, one.data_as, one.batch_size) == kind]
    rate = max(one.learning_rate for one in alike)
    return replace(first, learning_rate=rate, batch_size=min(first.batch_size, _SMALL))


def check_any(found: Sequence[Candidate], form: Form) -> None:
    """Raise a `SettingError` if there is nothing to try for data of a form."""
    if not found:
        raise SettingError(f"no losses are known for the form {form.name!r}; name one with --loss")


def _merged(one: Candidate, fixed: Mapping[str, Any]) -> dict[str, Any]:
    return {**one.loss_settings, **fixed.get("loss_settings", {})}


def _made_up(loss: str, form: Form, fixed: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """Candidates for a loss that the table does not have for this form."""
    known = fitting.public_losses()
    if not known[loss].forms:
        raise SettingError(
            f"{loss} is computed of another loss, which is what is named here (--loss); for widths "
            "to truncate to use --matryoshka, for all else the trainer in Python"
        )
    if not (fit := _turns_for(loss, form)):
        others = [name for name in known if _turns_for(name, form)]
        raise SettingError(
            f"{loss} cannot learn from the form {form.name!r} ({form.words}), nor from what it can "
            f"be turned into; losses that can: {', '.join(others) or 'none'}"
        )
    return _of_turn(loss, fit[0], form)


def _turns_for(loss: str, form: Form) -> list[str]:
    """What data of a form can be turned into so that a loss reads them; as they are comes first."""
    wanted = fitting.public_losses()[loss].forms
    turns = [AS_IT_IS, *forms_turned.turns_of(form)]
    return [turn for turn in turns if _reads(wanted, forms_turned.form_after(turn, form))]


def _of_turn(loss: str | None, turn: str, form: Form) -> tuple[Candidate, ...]:
    """Candidates on what a turn makes of the data."""
    after = forms_turned.form_after(turn, form)
    if loss is None:
        like = CANDIDATES.get(after.name, ())
        return tuple(replace(one, data_as=turn) for one in like if one.data_as == AS_IT_IS)
    kind = fitting.public_losses()[loss]
    if not _reads(kind.forms, after):
        raise SettingError(f"{loss} cannot learn from {turn!r}: that is {after.words}")
    sampler = _BY_CLASS if kind.has_batch_classes else "batch_sampler"
    sampler = _APART if kind.has_batch_negatives else sampler
    size = 32 if sampler != "batch_sampler" else 16
    return _rates(loss, size, data_as=turn, sampler=sampler)


def _reads(wanted: tuple[Form, ...], form: Form) -> bool:
    also = _AS_WELL if form is forms.PAIR_AND_MATCH else ()
    return any(one in wanted for one in (form, forms.ANY_TEXTS, *also))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
