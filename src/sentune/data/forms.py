"""The forms a dataset can take.

A form is a number of text columns and a kind of label. Which forms a loss learns from, and within
which limits, it declares itself (`sentune.losses.Loss`); this file knows no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

# Of the values in a label column: none there; 0 and 1; integers; floats; lists of equally many
# numbers; lists of lists; anything else.
LabelKind: TypeAlias = Literal["none", "binary", "class", "score", "list", "matrix", "other"]
# What a form wants of them. "scores": one per document; "margins": one per negative, the score of
# the positive less that of the negative; "any": they are not read.
Wanted: TypeAlias = Literal[
    "none", "any", "binary", "class", "score", "scores", "margins", "embedding"
]

LABELS: dict[Wanted, str] = {
    "none": "no label",
    "any": "any label or none",
    "binary": "labels 0 and 1",
    "class": "integer labels",
    "score": "float labels",
    "scores": "a list of floats as label, one for each text column after the first",
    "margins": "one float for each negative as label",
    "embedding": "a list of floats as label",
}


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
class Limits:
    """What a loss can read from labels; None where it has no limit.

    Args:
        scores: Smallest and largest score that it can reach; in place of labels 0 and 1, scores
            between them are read as weights.
        classes: How many classes it distinguishes.
        width: How many numbers an embedding has.
    """

    scores: tuple[float, float] | None = None
    classes: int | None = None
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
        is_advice: Whether data that happens to look like this should be sent to the losses that
            read it; not where the columns have a meaning that cannot be seen.
        is_repeated: Whether every column holds the same texts.
    """

    name: str
    words: str
    fewest: int
    most: int | None
    wanted: Wanted
    is_advice: bool = True
    is_repeated: bool = False

    def takes(self, inputs: int, label: Label) -> bool:
        """Whether a dataset with this many text columns and this label has the form."""
        is_enough = self.fewest <= inputs and (self.most is None or inputs <= self.most)
        return is_enough and _suits(self.wanted, inputs, label)


# In the order of advice.
FORMS = (
    PAIR_AND_SCORE := Form(
        "pair and score", "two texts and a float that says how alike they are", 2, 2, "score"
    ),
    PAIR_AND_MATCH := Form(
        "pair and 0 or 1", "two texts and 1 if they mean the same, else 0", 2, 2, "binary"
    ),
    PAIR_AND_CLASS := Form(
        "pair and class", "two texts and an integer, the class of the pair", 2, 2, "class"
    ),
    PAIR := Form("pair", "two texts that belong together, without a label", 2, 2, "none"),
    TEXT_AND_CLASS := Form(
        "sentence and class", "one text and an integer, its class", 1, 1, "class"
    ),
    TRIPLET := Form(
        "triplet", "three texts (anchor, positive, negative) without a label", 3, 3, "none"
    ),
    NEGATIVES := Form(
        "anchor, positive, negatives",
        "an anchor, a positive and two or more negatives without a label",
        *(4, None, "none"),
    ),
    TEACHER_SCORES := Form(
        "query, documents, scores",
        "a query, two or more documents and a list with a teacher's score for each document",
        *(3, None, "scores"),
    ),
    TEACHER_MARGINS := Form(
        "query, documents, margins",
        "a query, a positive, negatives and a teacher's margin (positive less negative) for each "
        "negative",
        *(3, None, "margins"),
    ),
    TEACHER_EMBEDDING := Form(
        "text and embedding",
        "texts and a teacher's embedding as a list of floats",
        *(1, None, "embedding"),
    ),
    TEXT := Form("sentence", "single texts without a label", 1, 1, "none"),
    DAMAGED_TEXT := Form(
        "damaged and whole text",
        "a text with words missing and the whole text, as DenoisingAutoEncoderDataset makes them",
        *(2, 2, "none", False),
    ),
    SAME_TEXT_TWICE := Form(
        "sentence twice", "the same text twice, without a label", *(2, 2, "none", False, True)
    ),
    TENSION_PAIR := Form(
        "tension pair",
        "two texts and 1 if they are the same, else 0, as ContrastiveTensionDataLoader makes them",
        *(2, 2, "binary", False),
    ),
    ANY_TEXTS := Form("any texts", "one or more texts, whatever the label", 1, None, "any", False),
)


def forms_of(inputs: int, label: Label) -> tuple[Form, ...]:
    """The forms a dataset can be seen as."""
    return tuple(form for form in FORMS if form.takes(inputs, label))


def advised(inputs: int, label: Label) -> list[Form]:
    """The forms whose losses a dataset should be sent to, the first choice first."""
    fitting = [form for form in forms_of(inputs, label) if form.is_advice]
    if any(form.wanted in ("scores", "margins") for form in fitting):  # one for each document
        fitting = [form for form in fitting if form.wanted != "embedding"]
    return sorted(fitting, key=lambda form: form.wanted != label.kind)  # 0 and 1 can be scores too


def _suits(wanted: Wanted, inputs: int, label: Label) -> bool:
    """Whether a label column holds what is wanted, beside so many text columns."""
    if wanted in ("none", "binary"):
        return label.kind == wanted
    if wanted == "any":
        return True
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
