"""Texts and lengths as uneven as real data: most are short, some long, a few empty or repeated.

Attention lays rows out by their lengths, so a test whose texts are all alike sees one way of many.
"""

from __future__ import annotations

import random

from hypothesis import strategies as st

from tests.tiny import WORDS

LONGEST = 200  # tokens of the longest text, special tokens included


def texts(n: int, seed: int, longest: int = LONGEST) -> list[str]:
    """Texts of 1 to `longest` tokens with the tiny tokenizer, special tokens included.

    Args:
        n: How many; from eight on every kind is among them.
        seed: Others for each.
        longest: Tokens of the longest.
    """
    rng = random.Random(seed)
    most = longest - 2
    sizes = [most, 0, 1, *(rng.randint(1, most) for _ in range(3))]
    sizes += [rng.choice([2, 3, 5, 8, 13, 21, 30, 45]) for _ in range(max(n - len(sizes), 0))]
    found = [" ".join(rng.choices(WORDS, k=min(size, most))) for size in sizes[:n]]
    if n > 7:
        found[7] = found[6]  # the same text twice
    rng.shuffle(found)
    return found


def columns(count: int, n: int, seed: int = 0, longest: int = LONGEST) -> list[list[str]]:
    """Columns of n texts each."""
    return [texts(n, seed=100 * seed + place, longest=longest) for place in range(count)]


_runs = st.tuples(st.integers(1, 512), st.integers(1, 20)).map(lambda run: [run[0]] * run[1])
_alike = st.integers(24, 500).flatmap(
    lambda base: st.lists(st.integers(base, min(512, base + base // 4)), min_size=2, max_size=12)
)
_short = st.lists(st.integers(1, 48), min_size=1, max_size=40)
_any = st.lists(st.integers(1, 512), min_size=1, max_size=6)


def lengths(most_rows: int = 64) -> st.SearchStrategy[list[int]]:
    """Lengths of 1 to 512 tokens of up to `most_rows` rows, ascending: any mixture of few kinds."""
    mixture = st.lists(st.one_of(_runs, _alike, _short, _any), min_size=1, max_size=4)
    return mixture.map(lambda parts: sorted(sum(parts, [])[:most_rows]))
