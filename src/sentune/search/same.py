"""Texts that are the same apart from case, white space and punctuation."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np


def plain(text: str) -> str:
    """The text in lower case, its words one blank apart, without punctuation."""
    words = text.casefold().translate(_punctuation()).split()
    return " ".join(words) or text  # "?" and "!" are not the same


def same_texts(texts: Sequence[str]) -> np.ndarray:
    """A number for each text, `(n,)` from 0 on, which is equal where texts are the same."""
    known: dict[str, int] = {}
    numbers = (known.setdefault(plain(text), len(known)) for text in texts)
    return np.fromiter(numbers, dtype=np.int64, count=len(texts))


@functools.cache
def _punctuation() -> dict[int, str]:
    """Every punctuation mark -> a blank; not symbols (C++), nor marks that are parts of words."""
    codes = range(sys.maxunicode + 1)
    return {code: " " for code in codes if unicodedata.category(chr(code))[0] == "P"}
