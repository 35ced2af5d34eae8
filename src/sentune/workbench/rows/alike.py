"""Which class of pairs says that both texts mean the same: one rule for all who ask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from sentune.errors import DatasetError
from sentune.types import Encoder
from sentune.vectors.tensors import to_tensor

# Beginnings of words that say it, the plainer ones first: of "same" and "related", it is "same".
_STEMS = (
    ("entail", "same", "duplicat", "paraphras", "equivalen", "identical", "alike", "match"),
    ("similar", "relevan", "relat"),
)
_WORDS = ("yes", "true", "positive")
# Words that turn it round: "not_duplicate", "non-match".
_TURNS = frozenset("not no non un dis mis never different false partly partially".split())
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def alike_by_name(names: Sequence[str] | None) -> int | None:
    """Which class has a name that says that both texts mean the same.

    None if none has, or if several have and none of them says it more plainly.
    """
    words = [[word.lower() for word in _PARTS.findall(str(name))] for name in names or ()]
    for stems, whole in zip(_STEMS, (_WORDS, ()), strict=True):
        found = [number for number, own in enumerate(words) if _says(own, stems, whole)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _says(words: Sequence[str], stems: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    is_turned = any(word in _TURNS for word in words)
    return not is_turned and any(word.startswith(stems) or word in whole for word in words)


def alike_class(
    columns: Sequence[Sequence[str]],
    labels: Any,
    names: Sequence[str] | None,
    model: Encoder | None,
) -> int:
    """Which class of pairs is the one of texts that mean the same.

    By its name; or 1 of 0 and 1; or else the class whose pairs a model finds nearest on average.

    Raises:
        DatasetError: If nothing says it and there is no model.
    """
    if (found := _without_model(labels, names)) is not None:
        return found
    if model is None:
        raise DatasetError("no name says which class is the one of pairs that are alike")
    return _by_distance(columns, labels, model)[-1]


def order_of_classes(
    columns: Sequence[Sequence[str]], labels: Any, names: Sequence[str] | None, model: Encoder
) -> list[int]:
    """The classes of pairs from the least to the most alike.

    The last one is that of `alike_class`; the others are in the order of what the model gives their
    pairs on average.
    """
    order, last = _by_distance(columns, labels, model), _without_model(labels, names)
    return order if last not in order else [*(one for one in order if one != last), int(last or 0)]


def _without_model(labels: Any, names: Sequence[str] | None) -> int | None:
    found = alike_by_name(names)
    is_binary = set(labels) == {0, 1} and (names is None or len(names) == 2)
    return 1 if found is None and is_binary else found


def _by_distance(columns: Sequence[Sequence[str]], labels: Any, model: Encoder) -> list[int]:
    """The classes by the mean score of their pairs, the farthest first."""
    texts = list(dict.fromkeys([*columns[0], *columns[1]]))
    place = {text: row for row, text in enumerate(texts)}
    rows = to_tensor(model.encode(texts, convert_to_tensor=True)).float().cpu()
    first, second = (rows[[place[text] for text in column]] for column in columns[:2])
    scores = to_tensor(model.similarity_pairwise(first, second)).double().numpy()
    labels = np.asarray(labels)
    return sorted(map(int, np.unique(labels)), key=lambda label: scores[labels == label].mean())
