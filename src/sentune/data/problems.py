"""The single things that can be wrong with a dataset."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sentune.data.forms import LABELS, Limits, Wanted
from sentune.data.profile import InputColumn, LabelColumn, Profile

_MOST_ALONE = 0.25  # of the rows of a random batch, without another row of their class
# Where a column with such a name belongs: the searched-for thing comes after what asks for it.
_PLACES = (
    (0, re.compile(r"anchor|quer(y|ies)|questions?|prompt|premise|title")),
    (1, re.compile(r"pos(itives?)?|answers?|responses?|documents?|passages?|context|hypothesis")),
    (2, re.compile(r"(hard_)?neg(atives?)?")),
)

_ID = re.compile(r"(.*_)?(id|idx|index|uid|uuid|guid)|__index_level_\d+__", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a dataset.

    Args:
        text: What it is and what to do.
        is_fatal: Whether training on it would fail or learn nothing.
        is_of_learning: Whether this can be ignored in an evaluation dataset.
    """

    text: str
    is_fatal: bool = True
    is_of_learning: bool = False


def in_cells(column: InputColumn, with_dicts: bool = True) -> list[Problem]:
    """What is wrong with the cells of an input column; dicts are allowed or not."""
    name, wrong = f"column {column.name!r}", []
    if column.missing:
        wrong.append(Problem(f"{name} has no text in {column.missing}; remove or fill these rows"))
    if column.numbers:
        text = (
            f"{name} has numbers or bytes in place of texts in {column.numbers}; remove it if it "
            "is an id, name it 'label' if it is one, else make strings of it"
        )
        wrong.append(Problem(text))
    if column.lists:
        text = f"{name} has lists in {column.lists}; spread them out with sentune.data.spread"
        wrong.append(Problem(text))
    if column.dicts and not with_dicts:
        text = (
            f"{name} has dicts in place of texts in {column.dicts}; make strings of them with "
            "dataset.map, such as the part with the text"
        )
        wrong.append(Problem(text))
    if column.blank:
        wrong.append(Problem(f"{name} is empty in {column.blank}", is_fatal=False))
    return wrong


def in_label_cells(label: LabelColumn) -> list[Problem]:
    """What is wrong with the cells of the label column."""
    name, wrong = f"label column {label.name!r}", []
    if label.missing:
        wrong.append(Problem(f"{name} is empty in {label.missing}; remove or fill these rows"))
    if label.not_finite:
        wrong.append(Problem(f"{name} is NaN or infinite in {label.not_finite}"))
    if label.foreign:
        text = (
            f"{name} holds something that is no number in {label.foreign}; make numbers of scores "
            "that are strings, and number classes with dataset.class_encode_column"
        )
        wrong.append(Problem(text))
    return wrong


def in_labels(
    found: Profile, loss: str, wanted: Wanted, limits: Limits, instead: str
) -> list[Problem]:
    """What is wrong with labels for a loss; `instead` is another way out of scores out of range."""
    label = found.label
    if label is None:
        return []
    wrong = []
    if label.is_constant and found.rows > 1:
        same = (
            f"label {label.name_of(label.low)}" if label.counts else f"same {label.words} as label"
        )
        text = f"every row has the {same}: there is nothing to learn from"
        wrong.append(Problem(text, is_of_learning=True))
        if label.counts:
            return wrong
    if label.label.kind not in (wanted, "binary") and wanted in ("score", "binary"):
        text = (
            f"{loss} reads {LABELS[wanted]}, and {label.name!r} holds {label.words}; if these are "
            f"something else than {LABELS[wanted]}, it is the wrong loss"
        )
        wrong.append(Problem(text, is_fatal=False))
    return wrong + _out_of_limits(label, loss, wanted, limits, len(found.inputs), instead)


def in_columns(
    names: list[str], found: Profile, loss: str, *, has_order: bool, may_repeat: bool
) -> list[Problem]:
    """What is wrong with the input columns, seen together, for a loss with these needs."""
    if len(names) < 2 or found.rows < 2:
        return []
    wrong = []
    for left, right in found.same:
        text = f"columns {left!r} and {right!r} are the same in every row"
        wrong.append(Problem(text, is_fatal=not may_repeat))
    for name in filter(_ID.fullmatch, names):
        text = (
            f"column {name!r} is one of the texts that {loss} compares; if it is an id, use "
            f"dataset.remove_columns({name!r})"
        )
        wrong.append(Problem(text, is_fatal=False))
    for column in found.inputs:
        if column.is_constant:
            text = f"column {column.name!r} has the same text in every row"
            wrong.append(Problem(text, is_fatal=False))
    return wrong + (wrong_order(names, loss) if has_order else [])


def wrong_order(names: list[str], loss: str) -> list[Problem]:
    """What is wrong with the order of columns for a loss that goes by it."""
    places = {name: place for name in names if (place := _place(name)) is not None}
    if list(places.values()) == sorted(places.values()):
        return []
    ranked = iter(sorted(places, key=places.__getitem__))
    order = [next(ranked) if name in places else name for name in names]
    text = (
        f"the columns come in the order {', '.join(names)}, and {loss} goes by their order, not by "
        f"their names; if that is not meant, use dataset.select_columns({order})"
    )
    return [Problem(text, is_fatal=False)]


def in_batches(
    found: Profile, loss: str, batch_size: int, *, needs_others: bool, needs_classmates: bool
) -> list[Problem]:
    """What is wrong with a dataset that comes in batches of this size.

    A loss `needs_others` if it takes its negatives from other rows only, and `needs_classmates` if
    it needs rows of a class together and they come at random.
    """
    if batch_size == 1 and needs_others:
        text = f"{loss} takes its negatives from the other rows of a batch, and with batch size 1 "
        return [Problem(text + "there are none; use at least 2")]
    if found.is_whole and found.rows < batch_size:
        text = f"it has {found.rows:,} rows, fewer than one batch of {batch_size:,}"
        return [Problem(text, is_fatal=False)]
    if needs_classmates and found.label and found.kind.kind in ("class", "binary"):
        return _rows_without_partner(found.label, loss, batch_size)
    return []


def in_classes(label: LabelColumn, loss: str) -> list[Problem]:
    """What is wrong with classes of which a loss needs several rows each."""
    lone = sorted(int(value) for value, count in label.counts.items() if count == 1)
    if not lone:
        return []
    shown = ", ".join(map(label.name_of, lone[:5])) + (" ..." if len(lone) > 5 else "")
    have = "has" if len(lone) == 1 else "have"
    text = (
        f"{len(lone):,} of {len(label.counts):,} classes {have} a single row ({shown}), and {loss} "
        "learns from two texts of a class: these rows are never an anchor"
    )
    return [Problem(text, is_fatal=len(lone) == len(label.counts), is_of_learning=True)]


def _rows_without_partner(label: LabelColumn, loss: str, batch_size: int) -> list[Problem]:
    shares = [count / label.counts.total() for count in label.counts.values()]
    alone = sum(share * (1 - share) ** (batch_size - 1) for share in shares)
    if alone <= _MOST_ALONE:
        return []
    text = (
        f"{loss} learns from rows of one class in a batch, and in random batches of {batch_size:,} "
        f"about {alone:.0%} of the rows are the only one of their class; set "
        "batch_sampler='group_by_label', for fit a DataLoader over "
        "sentune.datasets.SentenceLabelDataset"
    )
    return [Problem(text, is_fatal=False)]


def _out_of_limits(
    label: LabelColumn, loss: str, wanted: Wanted, limits: Limits, columns: int, instead: str
) -> list[Problem]:
    """Labels that the loss cannot reach or has no place for."""
    has, text = f"{label.name!r} has {label.low:g} to {label.high:g}", ""
    low, high = limits.scores or (-math.inf, math.inf)
    if wanted in ("score", "binary") and (label.low < low or label.high > high):
        text = f"{loss} wants scores from {low:g} to {high:g}, {has}; divide by "
        text += f"{max(-label.low, label.high):g}{instead}"
    elif wanted == "class" and limits.classes is not None:
        if not 0 <= label.low <= label.high < limits.classes:
            text = f"{loss} with num_labels={limits.classes} wants 0 to {limits.classes - 1}, {has}"
            text += f"; {_renumber(label)}"
    elif wanted == "embedding":
        text = _misshapen(label, loss, columns, limits.width)
    return [Problem(text)] if text else []


def _misshapen(label: LabelColumn, loss: str, columns: int, width: int | None) -> str:
    """What is wrong with the number of embeddings of a row, or with their width."""
    count, found = label.embeddings
    if count not in (None, columns):
        return (
            f"{loss} wants one embedding for all text columns or one for each; a row has {columns} "
            f"of them and {count} embeddings in {label.name!r}"
        )
    if width is None or found in (None, width):
        return ""
    return (
        f"{loss} wants embeddings of {width} numbers, {label.name!r} has {found}; set "
        f"projection_dim={found}, or take a teacher with {width}"
    )


def _renumber(label: LabelColumn) -> str:
    negative = sum(count for value, count in label.counts.items() if value < 0)
    if negative:
        rows = "row" if negative == 1 else "rows"
        return f"filter out the {negative:,} {rows} below 0, which often stands for unlabelled"
    return f"set num_labels={label.high + 1:g}, or number the classes from 0 without gaps"


def _place(name: str) -> int | None:
    plain = name.lower().rstrip("0123456789_")
    return next((place for place, words in _PLACES if words.fullmatch(plain)), None)
