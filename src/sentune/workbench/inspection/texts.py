"""Checks that read the texts of the rows alone: `find(table) -> Hits`."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from sentune.data import forms
from sentune.workbench.inspection.hits import Hits, hits
from sentune.workbench.inspection.table import IntArray, Table
from sentune.workbench.rows.duplicates import normalised

_USUAL = 0.2  # share of rows with one word from which on this is how the texts are
_NO_SPACES = 0x2E80  # from here on, scripts that put no spaces between words


def empty(table: Table) -> Hits:
    """Rows in which a text is missing, or white space only."""
    rows, columns = np.nonzero(table.exact < 0)
    rows, first = np.unique(rows, return_index=True)
    notes = [f"{table.names[columns[place]]!r} is empty" for place in first]
    return Hits(rows.tolist(), notes, [-1] * len(rows), list(range(len(rows))))


def without_label(table: Table) -> Hits:
    """Rows whose label is missing, where others have one."""
    if table.labels is None:
        return Hits()
    return hits(np.flatnonzero(np.isnan(table.labels)), "the label is empty")


def one_word(table: Table) -> Hits:
    """Rows with a text of a single word, where texts usually have more."""
    found: dict[int, str] = {}
    for name, texts in zip(table.names, table.texts, strict=True):
        rows = [row for row, text in enumerate(texts) if _is_one_word(text)]
        if len(rows) <= _USUAL * len(texts):
            found.update((row, f"{name!r} is one word: {texts[row].strip()}") for row in rows)
    rows = sorted(found)
    return Hits(rows, [found[row] for row in rows], [-1] * len(rows), list(range(len(rows))))


def _is_one_word(text: str) -> bool:
    plain = text.strip()
    if not plain or len(plain) > 100 or ord(max(plain)) >= _NO_SPACES:
        return False
    return len(normalised(plain).split()) == 1


def same_in_row(table: Table) -> Hits:
    """Rows whose first two texts are the same but for case, punctuation and spaces."""
    if table.exact.shape[1] < 2 or table.form is forms.SAME_TEXT_TWICE:
        return Hits()
    one, two = table.plain[:, 0], table.plain[:, 1]
    rows = np.flatnonzero((one == two) & (one >= 0))
    if len(rows) == len(table) > 1:  # made so, as for SimCSE
        return Hits()
    names = f"{table.names[0]!r} and {table.names[1]!r}"
    return hits(rows, f"{names} are the same text".replace("{", "{{").replace("}", "}}"))


def exact_duplicates(table: Table) -> Hits:
    """Rows with the texts and the label of an earlier one."""
    return _again(table, table.groups(table.exact), None, "the same as row {other}")


def near_duplicates(table: Table) -> Hits:
    """Rows that are like an earlier one but for case, punctuation or a slip of the pen."""
    exact = table.groups(table.exact)
    return _again(table, table.groups(table.near), exact, "nearly the same as row {other}")


def _again(table: Table, groups: IntArray, but: IntArray | None, note: str) -> Hits:
    """Rows of a group that an earlier row is in, with its label; not with the same `but`."""
    bucket = groups if table.labels is None else _with_label(table, groups)
    usable = np.flatnonzero(table.is_whole())
    first = _firsts(bucket, usable)
    rows = usable[first[usable] != usable]
    if but is not None:
        same = but if table.labels is None else _with_label(table, but)
        earlier = _firsts(same, usable)
        rows = rows[earlier[rows] == rows]
    return hits(rows, note, first[rows])


def _firsts(groups: IntArray, usable: IntArray) -> IntArray:
    """`(rows,)`: the first usable row of the group of each."""
    first = np.full(len(groups), -1, np.int64)
    values, places, inverse = np.unique(groups[usable], return_index=True, return_inverse=True)
    first[usable] = usable[places][inverse] if len(values) else -1
    return first


def _with_label(table: Table, groups: IntArray) -> IntArray:
    """Groups parted by labels; scores that are near each other are one label."""
    labels = table.labels
    assert labels is not None
    order = np.lexsort((labels, groups))
    step = np.diff(labels[order]) > table.tolerance
    is_new = np.r_[True, step | (np.diff(groups[order]) != 0)]
    found = np.empty(len(groups), np.int64)
    found[order] = np.cumsum(is_new)
    return found


def in_test(table: Table) -> Hits:
    """Rows whose texts are a row of the test data."""
    return _leaked(table, "exact", "row {other} of the test data")


def nearly_in_test(table: Table) -> Hits:
    """Rows that nearly are a row of the test data, and not exactly."""
    found = _leaked(table, "near", "nearly row {other} of the test data")
    exact = {*_leaked(table, "exact", "").rows}
    kept = [place for place, row in enumerate(found.rows) if row not in exact]
    rows = [found.rows[place] for place in kept]
    notes = [found.notes[place] for place in kept]
    return Hits(rows, notes, [-1] * len(kept), list(range(len(kept))))


def _leaked(table: Table, numbers: str, note: str) -> Hits:
    if table.test is None:
        return Hits()
    own, others = getattr(table, numbers), getattr(table.test, numbers)
    groups = table.groups(np.concatenate([own, others]))
    mine, theirs = groups[: len(own)], groups[len(own) :]
    place: dict[int, int] = {}
    with_text = np.flatnonzero((others >= 0).all(1))
    for row in with_text.tolist():
        place.setdefault(int(theirs[row]), row)
    usable = np.flatnonzero(table.is_whole() & np.isin(mine, theirs[with_text]))
    found = hits(usable, note, [place[group] for group in mine[usable].tolist()])
    return Hits(found.rows, found.notes, [-1] * len(found), found.order)


def text_in_test(table: Table) -> Hits:
    """Rows with a text of the test data beside another one than there."""
    if table.test is None or len(table.names) < 2:
        return Hits()
    whole = {*_leaked(table, "near", "").rows}
    shared = np.isin(table.near, table.test.near) & (table.near >= 0)
    rows = [row for row in np.flatnonzero(shared.any(1)).tolist() if row not in whole]
    return hits(rows, "a text of it is in the test data, in another row")


def repeated(table: Table) -> Hits:
    """Rows with a text that another row has too, where losses take other rows as negatives."""
    if not table.is_batched:
        return Hits()
    again = {*exact_duplicates(table).rows, *near_duplicates(table).rows}
    kept = np.setdiff1d(np.flatnonzero(table.is_whole()), sorted(again))
    found = np.zeros(len(kept), np.bool_)
    for column in (0, 1):
        _, inverse, counts = np.unique(
            table.near[kept, column], return_inverse=True, return_counts=True
        )
        found |= counts[inverse] > 1
    return hits(kept[found], "a text of it is in other rows, too")


def negative_is_positive(table: Table) -> Hits:
    """Rows with a negative that is a positive of the same anchor, or one of the two themselves."""
    if table.form not in (forms.TRIPLET, forms.NEGATIVES):
        return Hits()
    linked: dict[int, dict[int, int]] = defaultdict(dict)
    for row, (anchor, positive) in enumerate(table.near[:, :2].tolist()):
        linked[anchor].setdefault(positive, row)
        linked[positive].setdefault(anchor, row)
    rows, notes, others = [], [], []
    for row, (anchor, positive, *negatives) in enumerate(table.near.tolist()):
        known = linked[anchor]
        for name, negative in zip(table.names[2:], negatives, strict=True):
            if negative < 0 or (negative not in known and negative != anchor):
                continue
            other = known.get(negative, row)
            where = f"a positive of the same anchor in row {other}"
            if negative in (anchor, positive):
                other = -1
                where = "the anchor itself" if negative == anchor else "the positive itself"
            rows.append(row)
            notes.append(f"{name!r} is {where}")
            others.append(other)
            break
    return Hits(rows, notes, others, list(range(len(rows))))


def contradicting(table: Table) -> Hits:
    """Rows with the same texts and another label, except where most rows agree on one."""
    if table.labels is None:
        return Hits()
    groups = table.groups(table.near)
    usable = np.flatnonzero(table.is_whole())
    labels, groups = table.labels[usable], groups[usable]
    order = np.lexsort((labels, groups))
    edges = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    rows, notes, others = [], [], []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        members = usable[order[start:end]]
        values = labels[order[start:end]]
        if end - start < 2 or values[-1] - values[0] <= table.tolerance:
            continue
        for row, other in _odd_ones(members, values, table.tolerance):
            rows.append(row)
            others.append(other)
            own, their = (table.label_words(table.labels[place]) for place in (row, other))
            notes.append(f"labelled {own}, and row {other} {their}")
    order_ = np.argsort(rows, kind="stable").tolist()
    rows, notes, others = ([values[place] for place in order_] for values in (rows, notes, others))
    return Hits(rows, notes, others, list(range(len(rows))))


def _odd_ones(members: IntArray, values: np.ndarray, tolerance: float) -> list[tuple[int, int]]:
    """Rows apart from what most say, each with one of the others; all where none are most.

    `values (m,)` rise. Of a value the near ones are a run, so nothing grows with m².
    """
    first = np.searchsorted(values, values - tolerance, side="left")
    last = np.searchsorted(values, values + tolerance, side="right")
    counts = last - first
    best = int(counts.argmax())
    if counts[best] * 2 > len(values):  # most rows say the same
        apart = (*members[: first[best]], *members[last[best] :])
        return [(int(row), int(members[best])) for row in apart]
    found = []
    for i, row in enumerate(members):
        if counts[i] < len(values):
            other = members[0] if first[i] > 0 else members[last[i]]
            found.append((int(row), int(other)))
    return found
