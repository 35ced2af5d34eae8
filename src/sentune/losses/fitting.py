"""What is wrong with a dataset for a loss, before the first step of a training.

`problems` compares it with what the loss declares; `check` raises one error that says what the loss
wants, what the dataset has and which losses would fit, and warns of what is only odd. A loss that
declares no forms may read anything, as long as it is texts and numbers.
"""

from __future__ import annotations

from typing import Any

from sentune import losses
from sentune.checks import check_known
from sentune.data import forms
from sentune.data.forms import Form, Label, Limits
from sentune.data.problems import (
    Problem,
    in_batches,
    in_cells,
    in_classes,
    in_columns,
    in_label_cells,
    in_labels,
)
from sentune.data.profile import Profile, profile
from sentune.errors import DatasetError, warn
from sentune.losses.base import Loss

STREAM_ROWS = 1000  # rows of a dataset without a length that are read
_INSTEAD = ", or take CoSENTLoss, which reads only their order"
# Of the losses that read the same form, which one to begin with; others follow by their names.
_BEST_FIRST = """
MultipleNegativesRankingLoss CachedMultipleNegativesRankingLoss
MultipleNegativesSymmetricRankingLoss CachedMultipleNegativesSymmetricRankingLoss
GISTEmbedLoss CachedGISTEmbedLoss MegaBatchMarginLoss TripletLoss
CoSENTLoss AnglELoss OnlineContrastiveLoss
SupervisedContrastiveLoss BatchAllTripletLoss BatchHardTripletLoss MarginMSELoss
""".split()


def check(
    data: Any,
    loss: Any,
    *,
    batch_size: int | None = None,
    name: str = "",
    place: str = "",
    is_random: bool = False,
    is_trained_on: bool = True,
    limits: Limits | None = None,
) -> Profile:
    """A profile of a dataset that a loss can learn from; warns of what is odd about it.

    Args:
        data: Rows in any of the shapes that `sentune.data.columns` reads. Of a dataset without a
            length, the first `STREAM_ROWS` rows are read.
        loss: The loss, its class, or the name of a public one; of a wrapper such as
            `MatryoshkaLoss`, the inner loss counts.
        batch_size: Rows of a batch, if known.
        name: Of the dataset, for messages.
        place: How messages call it, in place of "the dataset" and its name.
        is_random: Whether rows come together in batches at random.
        is_trained_on: Whether it is used for training, and not only for evaluation.
        limits: What is to be in the labels; None for what the loss declares.

    Raises:
        DatasetError: If the loss cannot learn from it; one message with all reasons.
    """
    found = profile(data, None if hasattr(data, "__len__") else STREAM_ROWS)
    here = place or (f"the dataset {name!r}" if name else "the dataset")
    wrong = problems(found, loss, batch_size=batch_size, is_random=is_random, limits=limits)
    wrong = [problem for problem in wrong if is_trained_on or not problem.is_of_learning]
    for problem in wrong:
        if not problem.is_fatal:
            warn(f"{here}: {problem.text}")
    fatal = [problem.text for problem in wrong if problem.is_fatal]
    if fatal:
        reasons = "\n".join(f"- {text}" for text in fatal)
        raise DatasetError(f"{here} does not fit {_declared(loss)[0]}:\n{reasons}")
    return found


def problems(
    found: Profile,
    loss: Any,
    *,
    batch_size: int | None = None,
    is_random: bool = False,
    limits: Limits | None = None,
) -> list[Problem]:
    """Everything that is wrong with a dataset for a loss; arguments as in `check`."""
    if not found.rows:
        return [Problem("it has no rows")]
    name, declared = _declared(loss)
    limits = limits or declared.limits
    # A model may read dicts, as `{route: text}`; a name alone stands for no model.
    with_dicts = not isinstance(loss, str)
    wrong = [problem for column in found.inputs for problem in in_cells(column, with_dicts)]
    if found.label:
        wrong += in_label_cells(found.label)
    form = _form(found, declared.forms, limits)
    if form:
        wrong += _in_form(found, name, declared, form, limits)
    elif declared.forms:
        is_readable = not any(problem.is_fatal for problem in wrong)
        wants = _wants(name, declared.forms)
        wrong.append(Problem(_misfit(found, wants, declared.forms) if is_readable else wants))
    elif not found.inputs:
        wrong.append(Problem(f"it has no text column, only {found.words}"))
    if batch_size is not None:
        needs_others = declared.has_batch_negatives and len(found.inputs) == 2
        is_grouped = declared.has_batch_classes and is_random
        wrong += in_batches(
            found, name, batch_size, needs_others=needs_others, needs_classmates=is_grouped
        )
    return wrong


def advice(found: Profile) -> str:
    """Which losses fit a dataset, in a sentence."""
    fitting = losses_for(len(found.inputs), found.kind)
    if fitting:
        return f"losses that fit it: {', '.join(fitting)}"
    return (
        "no loss reads that; columns named label, labels, score or scores are labels and every "
        "other column is a text: remove, rename or reorder columns"
    )


def losses_for(inputs: int, label: Label) -> tuple[str, ...]:
    """The public losses that fit a number of text columns and a label, the first choice first."""
    public, advised = public_losses(), forms.advised(inputs, label)
    names = (name for form in advised for name in public if form in public[name].forms)
    return tuple(dict.fromkeys(names))


def public_losses() -> dict[str, type[Loss]]:
    """The losses of this library by name, in the order of advice."""
    found = {name: getattr(losses, name) for name in [*_BEST_FIRST, *dir(losses)]}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, Loss) and kind is not Loss
    }


def check_loss(name: str) -> None:
    """Raise a `SettingError` if no public loss has this name."""
    check_known("loss", name, public_losses())


def _declared(loss: Any) -> tuple[str, Loss | type[Loss]]:
    """The name of a loss, and who says what it reads: itself, its class, or else the base class."""
    while isinstance(loss, Loss) and isinstance(loss.loss, Loss):
        loss = loss.loss
    if isinstance(loss, str):
        return loss, public_losses().get(loss, Loss)
    kind = loss if isinstance(loss, type) else type(loss)
    return kind.__name__, loss if issubclass(kind, Loss) else Loss


def _form(found: Profile, wanted: tuple[Form, ...], limits: Limits) -> Form | None:
    """The form in which a loss reads the dataset, also where its labels are not quite right."""
    labels = [found.kind, *_nearly(found.kind, limits)]
    fitting = (form for label in labels for form in wanted if form.takes(len(found.inputs), label))
    return next(fitting, None)


def _nearly(label: Label, limits: Limits) -> list[Label]:
    """What labels can be taken for, with a word of warning."""
    near = [Label("score")] if label.kind in ("class", "binary") else []
    if label.kind == "score" and limits.scores:  # as weights between 0 and 1
        near.append(Label("binary"))
    return [*near, Label("none")]  # a loss that reads no labels does not mind any


def _in_form(
    found: Profile, name: str, declared: Loss | type[Loss], form: Form, limits: Limits
) -> list[Problem]:
    """What is wrong with a dataset that a loss reads in this form."""
    if form.wanted == "any":
        return []
    wrong = []
    if form.wanted == "none":
        wrong += _unread_labels(found, name)
    else:
        instead = _INSTEAD if form.wanted == "score" else ""
        wrong += in_labels(found, name, form.wanted, limits, instead)
    if found.label and declared.has_batch_classes:
        wrong += in_classes(found.label, name)
    names = [column.name for column in found.inputs]
    if form.is_repeated:
        return wrong + _different(names, found, name)
    # The same text twice is a method of its own (SimCSE): dropout makes the difference.
    may_repeat = declared.has_batch_negatives and len(found.inputs) == 2
    has_order = form.wanted in ("none", "scores", "margins")
    return wrong + in_columns(names, found, name, has_order=has_order, may_repeat=may_repeat)


def _different(names: list[str], found: Profile, loss: str) -> list[Problem]:
    if found.same:
        return []
    text = f"{loss} reads single texts, or the same text twice, and the columns "
    text += f"{' and '.join(names)} differ; remove one with dataset.remove_columns"
    return [Problem(text)]


def _unread_labels(found: Profile, loss: str) -> list[Problem]:
    label = found.label
    if label is None or len(label.counts) == 1:  # the 0 that every InputExample has
        return []
    text = f"{loss} reads no labels: those in {label.name!r} change nothing; {advice(found)}"
    return [Problem(text, is_fatal=False)]


def _misfit(found: Profile, wants: str, wanted: tuple[Form, ...]) -> str:
    label, hint = found.label, advice(found)
    hint = hint[0].upper() + hint[1:]
    wants_class = any(form.takes(len(found.inputs), Label("class")) for form in wanted)
    if label is not None and label.has_whole_floats and wants_class:
        cast = f"dataset.cast_column({label.name!r}, datasets.Value('int64'))"
        hint = f"{cast} makes integers of them"
    return f"{wants}. The dataset has {found.words}. {hint}."


def _wants(loss: str, wanted: tuple[Form, ...]) -> str:
    listed = []
    for form in wanted:
        more = " or more text columns" if form.most is None else " text column"
        plural = "s" if form.most is not None and form.fewest > 1 else ""
        listed.append(f"{form.words} ({form.fewest}{more}{plural}, {forms.LABELS[form.wanted]})")
    return f"{loss} wants {'; or '.join(listed)}"
