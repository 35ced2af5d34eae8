"""What is wrong with a dataset, before the first step of a training finds out.

`problems` looks at a dataset with the eyes of one loss; `check` raises one error that says what the
loss wants, what the dataset has and which losses would fit, and warns of what is only odd.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sentune.data import forms
from sentune.data.forms import Form, Label
from sentune.data.problems import (
    Limits,
    Problem,
    in_batches,
    in_cells,
    in_columns,
    in_label_cells,
    in_labels,
)
from sentune.data.profile import Profile, profile
from sentune.errors import DatasetError, warn

# Labels that a loss can reach: a cosine, or a weight between "same" and "different".
SCORE_RANGES = {"CosineSimilarityLoss": (-1.0, 1.0), "ContrastiveLoss": (0.0, 1.0)}
NO_LIMITS = Limits()
STREAM_ROWS = 1000  # rows of a dataset without a length that are looked at


def check(
    data: Any,
    loss: str,
    *,
    batch_size: int | None = None,
    name: str = "",
    is_random: bool = False,
    is_trained_on: bool = True,
    limits: Limits = NO_LIMITS,
) -> Profile:
    """A profile of a dataset that a loss can learn from; warns of what is odd about it.

    Args:
        data: Rows in any of the shapes that `sentune.data.columns` reads. Of a dataset without a
            length, the first `STREAM_ROWS` rows are read.
        loss: Class name of the loss; of a wrapper such as MatryoshkaLoss, the one inside it.
        batch_size: Rows of a batch, if known.
        name: Of the dataset, for messages.
        is_random: Whether rows come together in batches at random.
        is_trained_on: Whether the loss has to learn from it, and is not only measured with it.
        limits: What this very loss can read; scores without limits have those of its class.

    Raises:
        DatasetError: If the loss cannot learn from it; one message with all reasons.
    """
    found = profile(data, None if hasattr(data, "__len__") else STREAM_ROWS)
    here = f"the dataset {name!r}" if name else "the dataset"
    wrong = problems(found, loss, batch_size=batch_size, is_random=is_random, limits=limits)
    wrong = [problem for problem in wrong if is_trained_on or not problem.is_of_learning]
    for problem in wrong:
        if not problem.is_fatal:
            warn(f"{here}: {problem.text}")
    fatal = [problem.text for problem in wrong if problem.is_fatal]
    if fatal:
        reasons = "\n".join(f"- {text}" for text in fatal)
        raise DatasetError(f"{here} does not fit {loss}:\n{reasons}")
    return found


def problems(
    found: Profile,
    loss: str,
    *,
    batch_size: int | None = None,
    is_random: bool = False,
    limits: Limits = NO_LIMITS,
) -> list[Problem]:
    """Everything that is wrong with a dataset for a loss.

    Args:
        found: The profile of the dataset.
        loss: Class name of the loss.
        batch_size: Rows of a batch, if known.
        is_random: As for `check`.
        limits: As for `check`.
    """
    if not found.rows:
        return [Problem("it has no rows")]
    wrong = [problem for column in found.inputs for problem in in_cells(column)]
    if found.label:
        wrong += in_label_cells(found.label)
    form = _form(found, loss)
    if form:
        if form.wanted == "none":
            wrong += _unread_labels(found, loss)
        else:
            scores = limits.scores or SCORE_RANGES.get(loss)
            wrong += in_labels(found, loss, form.wanted, replace(limits, scores=scores))
        has_order = form.wanted in ("none", "scores", "margins")
        wrong += in_columns([column.name for column in found.inputs], found, loss, has_order)
    elif forms.wanted_by(loss):
        is_readable = not any(problem.is_fatal for problem in wrong)
        wrong.append(Problem(_misfit(found, loss) if is_readable else _wants(loss)))
    elif not found.inputs:
        wrong.append(Problem(f"it has no text column, only {found.words}"))
    if batch_size is not None:
        wrong += in_batches(found, loss, batch_size, is_random)
    return wrong


def advice(found: Profile) -> str:
    """Which losses fit a dataset, in a sentence.

    Args:
        found: Its profile.
    """
    losses = forms.losses_for(len(found.inputs), found.kind)
    if losses:
        return f"losses that fit it: {', '.join(losses)}"
    return (
        "no loss reads that; columns named label, labels, score or scores are labels and every "
        "other column is a text: remove, rename or reorder columns"
    )


def _form(found: Profile, loss: str) -> Form | None:
    """The form in which the loss reads the dataset, also where its labels are not quite right."""
    wanted = forms.wanted_by(loss)
    labels = [found.kind, *_nearly(found.kind, loss)]
    fitting = (form for label in labels for form in wanted if form.takes(len(found.inputs), label))
    return next(fitting, None)


def _nearly(label: Label, loss: str) -> list[Label]:
    """What labels can be taken for, with a word of warning."""
    near = [Label("score")] if label.kind in ("class", "binary") else []
    if label.kind == "score" and loss == "ContrastiveLoss":  # as weights between 0 and 1
        near.append(Label("binary"))
    return [*near, Label("none")]  # a loss that reads no labels does not mind any


def _unread_labels(found: Profile, loss: str) -> list[Problem]:
    label = found.label
    if label is None or len(label.counts) == 1:  # the 0 that every InputExample has
        return []
    text = f"{loss} reads no labels: those in {label.name!r} change nothing; {advice(found)}"
    return [Problem(text, is_fatal=False)]


def _misfit(found: Profile, loss: str) -> str:
    label, hint = found.label, _capital(advice(found))
    wants_class = any(
        form.takes(len(found.inputs), Label("class")) for form in forms.wanted_by(loss)
    )
    if label is not None and label.has_whole_floats and wants_class:
        cast = f"dataset.cast_column({label.name!r}, datasets.Value('int64'))"
        hint = f"{cast} makes integers of them"
    return f"{_wants(loss)}. The dataset has {found.words}. {hint}."


def _wants(loss: str) -> str:
    wants = "; or ".join(
        f"{form.words} ({_count(form)}, {forms.LABELS[form.wanted]})"
        for form in forms.wanted_by(loss)
    )
    return f"{loss} wants {wants}"


def _count(form: Form) -> str:
    if form.most is None:
        return f"{form.fewest} or more text columns"
    return f"{form.fewest} text column{'s' if form.fewest > 1 else ''}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
