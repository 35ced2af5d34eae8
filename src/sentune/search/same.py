"""Which documents are the same text as another, apart from case, white space and punctuation."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Sequence


def plain(text: str) -> str:
    """The text in lower case, its words one blank apart, without punctuation."""
    words = text.casefold().translate(_punctuation()).split()
    return " ".join(words) or text  # "?" and "!" are not the same


def same_texts(corpus: Sequence[str], groups: Sequence[Sequence[str]]) -> list[list[int]]:
    """For each group of texts, the places in the corpus of those that are the same as one of it."""
    places = defaultdict(list)
    for place, text in enumerate(corpus):
        places[plain(text)].append(place)
    return [
        [place for key in set(map(plain, texts)) for place in places.get(key, ())]
        for texts in groups
    ]


@functools.cache
def _punctuation() -> dict[int, str]:
    """Every punctuation mark -> a blank; not symbols (C++), nor marks that are parts of words."""
    codes = range(sys.maxunicode + 1)
    return {code: " " for code in codes if unicodedata.category(chr(code))[0] == "P"}
