"""The forms a dataset can take, and the losses that learn from each.

A form is a number of text columns and a kind of label. One table, `FORMS`, says which losses read
which form; what a loss wants, and which losses fit a dataset, are both looked up in it. Losses are
named, not imported: they live higher up in the house.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

# Of the values in a label column: none there; 0 and 1; integers; floats; lists of equally many
# numbers; lists of lists; anything else.
LabelKind: TypeAlias = Literal["none", "binary", "class", "score", "list", "matrix", "other"]
# What a form wants of them. "scores": one per document; "margins": one per negative, the score of
# the positive less that of the negative.
Wanted: TypeAlias = Literal["none", "binary", "class", "score", "scores", "margins", "embedding"]

LABELS: dict[Wanted, str] = {
    "none": "no label",
    "binary": "labels 0 and 1",
    "class": "integer labels",
    "score": "float labels",
    "scores": "a list of floats as label, one for each text column after the first",
    "margins": "one float for each negative as label",
    "embedding": "a list of floats as label",
}
IN_BATCH_LOSSES = (
    "MultipleNegativesRankingLoss",
    "CachedMultipleNegativesRankingLoss",
    "MultipleNegativesSymmetricRankingLoss",
    "CachedMultipleNegativesSymmetricRankingLoss",
    "GISTEmbedLoss",
    "CachedGISTEmbedLoss",
)
CLASS_TRIPLET_LOSSES = (
    "BatchAllTripletLoss",
    "BatchHardTripletLoss",
    "BatchHardSoftMarginTripletLoss",
    "BatchSemiHardTripletLoss",
)
WRAPPERS = (
    "MatryoshkaLoss",
    "Matryoshka2dLoss",
    "AdaptiveLayerLoss",
    "GlobalOrthogonalRegularizationLoss",
)


@dataclass(frozen=True)
class Label:
    """What is in a label column.

    Args:
        kind: Of all its values.
        width: Numbers in each list, for the kind "list"; None if the lists differ.
    """

    kind: LabelKind = "none"
    width: int | None = None


@dataclass(frozen=True)
class Form:
    """One form of data.

    Args:
        name: Short name.
        words: The same as a noun phrase.
        fewest: Text columns, at least.
        most: Text columns, at most; None for any number.
        wanted: What the label column holds.
        losses: Names of the losses that learn from it, the first choice first.
        is_advice: Whether data that happens to look like this should be sent to these losses;
            not where the columns have a meaning that cannot be seen.
    """

    name: str
    words: str
    fewest: int
    most: int | None
    wanted: Wanted
    losses: tuple[str, ...]
    is_advice: bool = True

    def takes(self, inputs: int, label: Label) -> bool:
        """Whether a dataset with this many text columns and this label has the form."""
        is_enough = self.fewest <= inputs and (self.most is None or inputs <= self.most)
        return is_enough and suits(self.wanted, inputs, label)


FORMS = (
    Form(
        "pair and score",
        "two texts and a float that says how alike they are",
        *(2, 2, "score"),
        ("CoSENTLoss", "AnglELoss", "CosineSimilarityLoss"),
    ),
    Form(
        "pair and 0 or 1",
        "two texts and 1 if they mean the same, else 0",
        *(2, 2, "binary"),
        ("OnlineContrastiveLoss", "ContrastiveLoss"),
    ),
    Form(
        "pair and class",
        "two texts and an integer, the class of the pair",
        *(2, 2, "class"),
        ("SoftmaxLoss",),
    ),
    Form(
        "pair",
        "two texts that belong together, without a label",
        *(2, 2, "none"),
        (*IN_BATCH_LOSSES, "MegaBatchMarginLoss"),
    ),
    Form(
        "sentence and class",
        "one text and an integer, its class",
        *(1, 1, "class"),
        CLASS_TRIPLET_LOSSES,
    ),
    Form(
        "triplet",
        "three texts (anchor, positive, negative) without a label",
        *(3, 3, "none"),
        (*IN_BATCH_LOSSES, "TripletLoss", "AnglELoss"),
    ),
    Form(
        "anchor, positive, negatives",
        "an anchor, a positive and two or more negatives without a label",
        *(4, None, "none"),
        (*IN_BATCH_LOSSES, "AnglELoss"),
    ),
    Form(
        "query, documents, scores",
        "a query, two or more documents and a list with a teacher's score for each document",
        *(3, None, "scores"),
        ("MarginMSELoss", "DistillKLDivLoss"),
    ),
    Form(
        "query, documents, margins",
        "a query, a positive, negatives and a teacher's margin (positive less negative) for each "
        "negative",
        *(3, None, "margins"),
        ("MarginMSELoss",),
    ),
    Form(
        "text and embedding",
        "texts and a teacher's embedding as a list of floats",
        *(1, None, "embedding"),
        ("EmbedDistillLoss", "MSELoss"),
    ),
    Form(
        "sentence",
        "single texts without a label",
        *(1, 1, "none"),
        ("ContrastiveTensionLossInBatchNegatives",),
    ),
    Form(
        "damaged and whole text",
        "a text with words missing and the whole text, as DenoisingAutoEncoderDataset makes them",
        *(2, 2, "none"),
        ("DenoisingAutoEncoderLoss",),
        is_advice=False,
    ),
    Form(
        "tension pair",
        "two texts and 1 if they are the same, else 0, as ContrastiveTensionDataLoader makes them",
        *(2, 2, "binary"),
        ("ContrastiveTensionLoss",),
        is_advice=False,
    ),
)


def suits(wanted: Wanted, inputs: int, label: Label) -> bool:
    """Whether a label column holds what is wanted.

    Args:
        wanted: What a form wants.
        inputs: Number of text columns.
        label: What the column holds.
    """
    if wanted in ("none", "binary"):
        return label.kind == wanted
    if wanted == "class":
        return label.kind in ("class", "binary")
    if wanted == "score":
        return label.kind in ("score", "binary")
    if wanted == "embedding":
        return label.kind == "matrix" or (label.kind == "list" and label.width is not None)
    if wanted == "scores":
        return label.kind == "list" and label.width == inputs - 1
    is_scalar = label.kind == "score" and inputs == 3
    return is_scalar or (label.kind == "list" and label.width == inputs - 2)


def wanted_by(loss: str) -> tuple[Form, ...]:
    """The forms a loss learns from; none for a wrapper or a loss that is not in the table."""
    return tuple(form for form in FORMS if loss in form.losses)


def forms_of(inputs: int, label: Label) -> tuple[Form, ...]:
    """The forms a dataset can be seen as.

    Args:
        inputs: Number of text columns.
        label: What its label column holds.
    """
    return tuple(form for form in FORMS if form.takes(inputs, label))


def losses_for(inputs: int, label: Label) -> tuple[str, ...]:
    """The losses that fit a dataset, by name, the first choice first.

    Args:
        inputs: Number of text columns.
        label: What its label column holds.

    Example:
        >>> losses_for(3, Label("none"))[:2]
        ('MultipleNegativesRankingLoss', 'CachedMultipleNegativesRankingLoss')
    """
    fitting = [form for form in forms_of(inputs, label) if form.is_advice]
    fitting.sort(key=lambda form: form.wanted != label.kind)  # zeros and ones can be scores too
    return tuple(dict.fromkeys(loss for form in fitting for loss in form.losses))
