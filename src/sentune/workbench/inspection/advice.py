"""Which losses fit and why, and how to start: a command and code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentune.data import forms
from sentune.data.forms import Form
from sentune.data.profile import Profile
from sentune.losses.fitting import losses_for

_BATCH = "every other positive of a batch is a negative, so no labels and no negatives are needed"
_CACHED = "for batches of any size in the memory of a small one: larger batches have more negatives"
_BOTH_WAYS = "if positives are searched with as well: it also finds the anchor for each positive"
_GUIDE = "if rows may be positives of each other: a second model names such false negatives"
_WHY: dict[str, str] = {
    "MultipleNegativesRankingLoss": _BATCH,
    "CachedMultipleNegativesRankingLoss": _CACHED,
    "MultipleNegativesSymmetricRankingLoss": _BOTH_WAYS,
    "CachedMultipleNegativesSymmetricRankingLoss": "the same in bounded memory",
    "GISTEmbedLoss": _GUIDE,
    "CachedGISTEmbedLoss": "the same in bounded memory",
    "MegaBatchMarginLoss": "takes the hardest positive of a very large batch as the negative",
    "TripletLoss": "reads each row alone: for small batches, or a margin that means something",
    "CosineSimilarityLoss": "the cosine becomes the score itself: best where scores go from 0 to 1 "
    "and are to be read as they are",
    "CoSENTLoss": "learns the order of the scores only, so their scale does not matter",
    "AnglELoss": "as CoSENTLoss, with angles of complex numbers, whose gradients do not vanish",
    "OnlineContrastiveLoss": "learns from the hard pairs of a batch: positives that are far, and "
    "negatives that are near",
    "ContrastiveLoss": "the same for all pairs: steadier where labels are noisy",
    "SoftmaxLoss": "learns to tell the classes of pairs apart, as entailment and contradiction",
    "SupervisedContrastiveLoss": "draws all texts of a class together at once, and keeps most of "
    "what the model knew",
    "BatchAllTripletLoss": "all triplets of a batch that are not yet right",
    "BatchHardTripletLoss": "for each text the farthest of its class and the nearest of others",
    "BatchHardSoftMarginTripletLoss": "the same without a margin to choose",
    "BatchSemiHardTripletLoss": "negatives just behind the positive: steady with many classes",
    "ContrastiveTensionLossInBatchNegatives": "texts alone are enough: a second copy of the model "
    "must recognise each of them",
    "MarginMSELoss": "learns the teacher's difference between two documents, whatever its scale",
    "DistillKLDivLoss": "learns the teacher's order of all documents of a row",
    "EmbedDistillLoss": "draws each embedding to the teacher's",
    "MSELoss": "the same by squared distance: for a student as wide as its teacher",
}
# Where a loss reads several forms and is good for another reason in one of them.
_WHY_IN: dict[tuple[Form, str], str] = {
    (forms.TRIPLET, "MultipleNegativesRankingLoss"): "the negative of each row and all other texts "
    "of the batch are negatives: much more to learn from than single triplets",
    (forms.TRIPLET, "AnglELoss"): "compares the two cosines of a row by their order",
    (forms.NEGATIVES, "MultipleNegativesRankingLoss"): "the negatives of each row and all other "
    "texts of the batch are negatives",
    (forms.NEGATIVES, "AnglELoss"): "compares the cosines of a row by their order",
    (forms.PAIR_AND_MATCH, "CoSENTLoss"): "reads 0 and 1 as scores, and learns their order",
    (forms.PAIR_AND_MATCH, "CosineSimilarityLoss"): "reads 0 and 1 as the cosines to reach",
}
# Of the options of `read`, those that are words of the command line, too.
_IN_THE_COMMAND = ("split", "columns", "label", "skip_bad_rows", "format", "encoding")
# What a loss is made of beside the model, and how batches are best drawn.
_GUIDED = ", guide=SentenceTransformer({name!r})"
_ARGUMENTS = {
    "SoftmaxLoss": ", model.get_embedding_dimension(), num_labels={classes}",
    "GISTEmbedLoss": _GUIDED,
    "CachedGISTEmbedLoss": _GUIDED,
}
_SAMPLERS = {
    forms.PAIR: "no_duplicates",
    forms.TRIPLET: "no_duplicates",
    forms.NEGATIVES: "no_duplicates",
    forms.TEXT_AND_CLASS: "group_by_label",
}


def form_of(found: Profile) -> Form | None:
    """The form whose losses a dataset should be sent to."""
    return next(iter(forms.advised(len(found.inputs), found.kind)), None)


def why(found: Profile, form: Form | None) -> str:
    """Why a dataset has its form, in a sentence."""
    if form is None:
        return (
            f"no loss reads {found.words}. Columns named label, labels, score or scores are "
            "labels, and every other column is a text: choose and rename columns with --columns "
            "and --label"
        )
    return f"it has {found.words}"


def reasons(found: Profile, form: Form | None) -> list[dict[str, str]]:
    """The losses that fit, the best first, each with its reason."""
    names = losses_for(len(found.inputs), found.kind)
    return [{"name": name, "why": reason(name, form)} for name in names]


def reason(name: str, form: Form | None) -> str:
    """Why a loss fits rows of a form."""
    return _WHY_IN[form, name] if form and (form, name) in _WHY_IN else _WHY[name]


def start(
    sources: Sequence[str],
    model: str,
    options: Mapping[str, Any],
    losses: Sequence[Mapping[str, str]],
    form: Form | None,
    classes: int,
    asked: str | None = None,
) -> dict[str, str]:
    """How to start: `{"command": a shell command, "python": code}`; empty if nothing fits.

    Args:
        sources: The files; none if the data came from elsewhere.
        model: The model to start from.
        options: How the files are read, as `sentune.data.read.read` takes it.
        losses: As `reasons` gives them.
        form: Of the rows.
        classes: How many there are.
        asked: The loss to start with; None for the first, and where it is not among them.
    """
    if not losses:
        return {}
    usual = {"split": "train"}
    options = {
        name: given
        for name, given in options.items()
        if given is not None and given != usual.get(name)
    }
    wanted = next((one["name"] for one in losses if one["name"] == asked), None)
    loss = wanted or losses[0]["name"]
    return {
        "command": _command(sources or ["DATA"], model, options, wanted),
        "python": _code(sources, model, options, loss, form, classes),
    }


def _command(
    sources: Sequence[str], model: str, options: Mapping[str, Any], loss: str | None
) -> str:
    import shlex

    words = ["sentune", "train", *sources]
    for name, given in options.items():
        if given and name in _IN_THE_COMMAND:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if given is True else [_word(given)]
    words += [] if loss is None else ["--loss", loss]
    return shlex.join([*words, "--model", model, "--output", "my-model"])


def _word(given: Any) -> str:
    """What an option was given, as the command line takes it."""
    if isinstance(given, Mapping):
        return ",".join(new if new == old else f"{new}={old}" for new, old in given.items())
    return str(given) if isinstance(given, (str, Path)) else ",".join(given)


def _code(
    sources: Sequence[str],
    model: str,
    options: Mapping[str, Any],
    loss: str,
    form: Form | None,
    classes: int,
) -> str:
    given = [repr(sources[0] if len(sources) == 1 else list(sources))]
    given += [f"{name}={value!r}" for name, value in options.items()]
    rows = f"read({', '.join(given)})" if sources else "...  # the rows that were inspected"
    sampler = _SAMPLERS.get(form) if form else None
    batches = f', batch_sampler="{sampler}"' if sampler else ""
    arguments = _ARGUMENTS.get(loss, "").format(classes=classes, name=model)
    lines = [
        "from sentune import SentenceTransformer, SentenceTransformerTrainer, losses",
        "from sentune import SentenceTransformerTrainingArguments",
        *(["from sentune.data.read import read"] if sources else []),
        "",
        f"model = SentenceTransformer({model!r})",
        f"rows = {rows}",
        f"loss = losses.{loss}(model{arguments})",
        f'settings = SentenceTransformerTrainingArguments("my-model"{batches})',
        "SentenceTransformerTrainer(model, settings, train_dataset=rows, loss=loss).train()",
        'model.save_pretrained("my-model")',
    ]
    return "\n".join(lines)
