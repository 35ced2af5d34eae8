"""Texts that say the same in nearly the same letters.

Two texts are near duplicates if they are the same but for case, punctuation, spaces, words that
carry no meaning ("the", "please") and slips of the pen: one letter more, fewer, other or swapped
in a word that is not another common word of these texts. Numbers and negations must be the same, so
that "My card has arrived" is no near duplicate of "My card has not arrived". In texts of 20 words
and more, one word in 20 may be another.

Candidates are found without comparing all pairs. A slip leaves two texts that are equal once one
letter is taken from each, so texts are joined by hashes of what is left without each single letter
(as SymSpell does for words); long texts by MinHash of their words (Broder 1997) in bands.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pair: TypeAlias = tuple[int, int, float]
_Hashes: TypeAlias = NDArray[np.uint64]
_Places: TypeAlias = NDArray[np.int64]

THRESHOLD = 0.9
# Words that two texts with the same meaning may differ by.
_WEAK = frozenset(
    "a an the please pls kindly hi hello hey just really so well oh ok okay "
    "le la les l el los las un une una uno der das den dem ein eine il lo".split()
)
_NEGATIONS = frozenset("no not none never nor without nicht kein keine pas non sin nunca".split())
_LONG_WORDS = 20  # texts of as many words may differ in one of them
_LONG_LETTERS = 60  # texts of as many letters are also joined by MinHash
_MOST_LETTERS = 300  # and longer ones by it alone
_COMMON = 3  # texts that have a word which is no slip of the pen
_BANDS, _BAND_ROWS = 12, 4
_MOST_HASHES = 8_000_000  # in memory at a time
_MOST_IN_RUN = 20  # texts with one hash of which all pairs are compared
_SEED = 20
_SEEN_BITS = 24
_SEEN_SHIFT = np.uint64(64 - _SEEN_BITS)
_CHUNK = 50_000  # texts that are hashed at a time
_COUNTED = 100_000  # texts that show which words are common

_KEPT = {ord("."): "\ue000", ord(","): "\ue000", ord(":"): "\ue000", ord("#"): "\ue001"}
_KEPT[ord("-")] = "\ue002"
_KEPT |= {ord("/"): "\ue003", ord("*"): "\ue004"}
# Signs that change a number or a name: 1.5, 10:30, -5, C#, 1/12, 10 - 2.
_INNER = re.compile(r"(?<=\d)[.,:](?=\d)|(?<=\b[a-z])#|(?<![\w)])-(?=\d)|(?<=\d)\s*[-/*]\s*(?=\d)")
_DIGIT = re.compile(r"\d")
_NO_BORDER = re.compile(r"(?<!\d) | (?!\d)")  # a space that is not between two numbers
_NOT = re.compile(r"n['\u2019]t\b")
_IRREGULAR = (
    (re.compile(r"\bcan['\u2019]t\b|\bcannot\b"), "can not"),
    (re.compile(r"\bwon['\u2019]t\b"), "will not"),
)


class _Signs(dict[int, str]):
    """What becomes of a character: punctuation is a space, what cannot be seen is nothing."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        kind = unicodedata.category(sign)
        becomes = sign
        if sign in "'\u2019\u02bc" or kind == "Cf":
            becomes = ""
        elif (kind[0] in "PZC" or kind == "Sk") and sign != "%":
            becomes = " "
        self[code] = becomes
        return becomes


_SIGNS = _Signs({0xE000: ".", 0xE001: "#", 0xE002: "-", 0xE003: "/", 0xE004: "*"})


def normalised(text: str) -> str:
    """The words of a text in small letters, one space between them, without punctuation.

    "n't" is "not"; signs in numbers ("1.5") are kept; a text without any letter or digit is only
    stripped, so that ":)" and ":(" differ.
    """
    plain = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    if "n't" in plain or "n\u2019t" in plain or "cannot" in plain:
        for pattern, words in _IRREGULAR:
            plain = pattern.sub(words, plain)
        plain = _NOT.sub(" not", plain)
    if "#" in plain or _DIGIT.search(plain):  # without the look, this line takes most of the time
        plain = _INNER.sub(lambda found: _KEPT[ord(found.group().strip())], plain)
    return " ".join(plain.translate(_SIGNS).split()) or " ".join(text.split())


def near_duplicates(
    texts: Sequence[str], threshold: float = THRESHOLD, *, first: int | None = None
) -> list[Pair]:
    """Pairs `(i, j, similarity)`, `i < j`, of texts that say the same in nearly the same letters.

    The similarity is 1.0 for texts that differ in case, punctuation and spaces alone, else the
    share of letters that both have. Of many texts that are the same but for these and for words
    without a meaning, each is paired with the first of them only, and that one alone is compared
    with others: the pairs connect what belongs together and never grow with the square of the
    texts.

    Args:
        texts: Any number of texts; 10,000 take less than two seconds, and memory grows with the
            texts alone.
        threshold: Smallest similarity of a pair, in (0, 1].
        first: Compare only each of so many first texts with the others behind them; None for all.
            Pairs of the others are among the result only where both say the same.
    """
    plain = [normalised(text) for text in texts]
    firsts, pairs, joined = _same(plain)
    plain = [plain[row] for row in firsts]
    common = Counter(word for text in plain[:_COUNTED] for word in {*text.split()})
    seen: set[tuple[int, int]] = set()
    asked = None if first is None else bisect_left(firsts, first)
    for i, j in _candidates(plain, joined, asked):
        if i != j and (min(i, j), max(i, j)) not in seen:
            seen.add((min(i, j), max(i, j)))
            first, second = sorted((firsts[i], firsts[j]))
            pairs.append(
                (first, second, _similarity(_content(plain[i]), _content(plain[j]), common))
            )
    return sorted(pair for pair in pairs if pair[2] >= threshold)


def _content(text: str) -> list[str]:
    """The words that carry meaning; all of them if none does."""
    words = text.split()
    return [word for word in words if word not in _WEAK] or words


def letters_of(words: Sequence[str]) -> str:
    """The letters of words, which may be written apart or not; two numbers and negations stay so.

    So "10 km" is "10km", but "1 12" is not "11 2", and "not able" is not "notable".
    """
    if not _NEGATIONS.isdisjoint(words):
        words = [f"|{word}|" if word in _NEGATIONS else word for word in words]
    text = " ".join(words)
    return _NO_BORDER.sub("", text) if _DIGIT.search(text) else text.replace(" ", "")


def _same(plain: list[str]) -> tuple[list[int], list[Pair], list[str]]:
    """The first text of each meaning, the others paired with it, and letters of the first ones."""
    first: dict[str, int] = {}
    pairs = []
    for row, text in enumerate(plain):
        if not text:  # an empty text is like no other
            continue
        other = first.setdefault(letters_of(_content(text)), row)
        if other != row:
            one, two = (letters_of(each.split()) for each in (text, plain[other]))
            pairs.append((other, row, 1.0 if one == two else _share(len(one), len(two))))
    return list(first.values()), pairs, list(first)


def _share(length: int, other: int) -> float:
    """The share of common letters of two texts of which one is part of the other."""
    # Words without a meaning count little: a short text is not another one for an article.
    return max(THRESHOLD, 2 * min(length, other) / (length + other))


def _similarity(one: list[str], two: list[str], common: Counter[str]) -> float:
    """The share of letters that two texts have in common; 0 if the meaning may be another."""
    start = 0
    while start < min(len(one), len(two)) and one[start] == two[start]:
        start += 1
    end = 0
    while end < min(len(one), len(two)) - start and one[-1 - end] == two[-1 - end]:
        end += 1
    left, right = one[start : len(one) - end], two[start : len(two) - end]
    letters = sum(map(len, one)) + sum(map(len, two))
    if len(left) == len(right) == 1:
        if _is_slip(left[0], right[0], common):
            return 1 - 2 / letters
    elif letters_of(left) == letters_of(right):
        return 1.0
    if letters < 2 * _LONG_LETTERS or len({*one} & {*two}) < len({*one}) / 2:
        return 0.0
    return _similarity_of_long(one, two, common, letters)


def _similarity_of_long(
    one: list[str], two: list[str], common: Counter[str], letters: int
) -> float:
    changed: int = 0
    apart = 0.0
    blocks = SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
    for kind, a, b, c, d in blocks:
        left, right = one[a:b], two[c:d]
        if kind == "equal" or letters_of(left) == letters_of(right):
            continue
        if b - a == d - c and all(map(lambda x, y: _is_slip(x, y, common), left, right)):
            apart += 2 * (b - a)
            continue
        if any(_is_telling(word) for word in {*left} ^ {*right}):
            return 0.0
        changed += max(b - a, d - c)
        apart += sum(map(len, left)) + sum(map(len, right))
    if changed * _LONG_WORDS > min(len(one), len(two)):
        return 0.0
    return 1 - apart / letters


def _is_telling(word: str) -> bool:
    """Whether a word more or less always makes another meaning of a text."""
    return word in _NEGATIONS or any(sign.isdigit() for sign in word)


def _is_slip(one: str, two: str, common: Counter[str]) -> bool:
    """Whether one of two words is the other with a slip of the pen, or its plural."""
    if _is_telling(one) or _is_telling(two) or not _is_one_edit(one, two):
        return False
    short, long = sorted((one, two), key=len)
    if len(short) < 3 or ord(max(long)) >= 0x2E80:  # each sign is a word there
        return False
    if long == short + "s":
        return True
    counts = sorted((common[one], common[two]))
    if counts[0] >= _COMMON:
        return False
    is_long = len(short) >= 5 and one[0] == two[0]
    return is_long or (len(short) >= 4 and counts[1] >= _COMMON * max(1, counts[0]))


def _is_one_edit(one: str, two: str) -> bool:
    """Whether a letter more, fewer, other, or swapped with the next makes one word of the other."""
    if abs(len(one) - len(two)) > 1:
        return False
    place = next(
        (at for at, pair in enumerate(zip(one, two, strict=False)) if len({*pair}) > 1), None
    )
    if place is None:
        return True
    a, b = one[place:], two[place:]
    is_swap = a[:2] == b[1::-1] and a[2:] == b[2:]
    return is_swap or a[1:] == b[1:] or a[1:] == b or a == b[1:]


def _candidates(
    plain: list[str], joined: list[str], asked: int | None = None
) -> Iterator[tuple[int, int]]:
    """Pairs of texts to compare; with `asked` only those of one of so many first ones."""
    short = [row for row, text in enumerate(joined) if len(text) <= _MOST_LETTERS]
    long = [row for row, text in enumerate(joined) if len(text) > _LONG_LETTERS]
    places = np.array(long, np.int64)
    bands = _minhash([plain[row] for row in long])
    if asked is not None:
        first = bisect_left(short, asked)
        known = _Known(*_without_a_letter(joined, short[:first]))
        for start in range(first, len(short), _CHUNK):
            yield from known.pairs(*_without_a_letter(joined, short[start : start + _CHUNK]))
        is_asked = places < asked
        for band in bands:
            known = _Known(band[is_asked], places[is_asked])
            yield from known.pairs(band[~is_asked], places[~is_asked])
        return
    size = sum(len(joined[row]) + 1 for row in short)
    parts = -(-size // _MOST_HASHES) or 1
    for part in range(parts):  # each part holds other hashes
        yield from _runs(*_without_a_letter(joined, short, part, parts))
    for band in bands:
        yield from _runs(band, places)


class _Known:
    """Places with their hashes, to be found by these."""

    def __init__(self, hashes: _Hashes, places: _Places) -> None:
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.places = hashes[order], places[order]
        self._seen = np.zeros(1 << _SEEN_BITS, bool)  # most hashes are unknown: seen at once
        self._seen[hashes >> _SEEN_SHIFT] = True

    def pairs(self, hashes: _Hashes, places: _Places) -> Iterator[tuple[int, int]]:
        """Pairs of a known place and one of these, with the same hash."""
        stays = self._seen[hashes >> _SEEN_SHIFT]
        hashes, places = hashes[stays], places[stays]
        low, high = (np.searchsorted(self.hashes, hashes, side) for side in ("left", "right"))
        for at in np.flatnonzero(high > low):
            last = min(high[at], low[at] + _MOST_IN_RUN)
            for own in self.places[low[at] : last].tolist():
                yield own, int(places[at])


def _runs(hashes: _Hashes, places: _Places) -> Iterator[tuple[int, int]]:
    """Pairs of places with the same hash."""
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    edges = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1], True])
    for at in np.flatnonzero(np.diff(edges) > 1):
        run = np.unique(places[edges[at] : edges[at + 1]]).tolist()
        if len(run) > _MOST_IN_RUN:
            yield from zip(run, run[1:], strict=False)
            continue
        for number, place in enumerate(run):
            for other in run[number + 1 :]:
                yield place, other


def _without_a_letter(
    joined: list[str], rows: list[int], part: int = 0, parts: int = 1
) -> tuple[_Hashes, _Places]:
    """Hashes of each text and of what is left of it without each of its letters, and its row."""
    random = np.random.default_rng(_SEED)
    table = random.integers(1, 2**63, 2**16, np.uint64)  # one number a letter
    step = random.integers(1, 2**62, 1, np.uint64) * np.uint64(2) + np.uint64(1)
    powers = np.multiply.accumulate(np.full(_MOST_LETTERS + 1, step[0], np.uint64))
    back = np.uint64(pow(int(step[0]), -1, 2**64))
    hashes, places = [], []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        found, texts = _hashes_of([joined[row] for row in chunk], table, powers, back)
        is_here = found % np.uint64(parts) == part
        hashes.append(found[is_here])
        places.append(np.array(chunk, np.int64)[texts[is_here]])
    if not hashes:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate(hashes), np.concatenate(places)


def _hashes_of(
    texts: list[str], table: _Hashes, powers: _Hashes, back: np.uint64
) -> tuple[_Hashes, _Places]:
    """As `_without_a_letter`: a text is the sum of its letters' numbers times powers of a step."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    lengths = np.array([len(text) for text in texts], np.int64)
    starts = np.cumsum(lengths) - lengths
    text = np.repeat(np.arange(len(texts)), lengths)
    values = table[codes & 0xFFFF] * powers[np.arange(len(codes)) - starts[text]]
    sums = np.r_[np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)]
    before = sums[:-1] - sums[starts][text]
    ends = sums[starts + lengths]
    # What comes after the letter moves one place to the front.
    without = before + (ends[text] - sums[1:]) * back
    may_go = (codes < 0x2E80) & ~((codes >= 48) & (codes <= 57))
    whole = ends - sums[starts]
    return np.r_[whole, without[may_go]], np.r_[np.arange(len(texts)), text[may_go]]


def _minhash(plain: list[str]) -> Iterator[_Hashes]:
    """A hash for each text, `(n,)`, in each band."""
    numbers: dict[str, int] = {}
    flat, sizes = array("q"), []
    for text in plain:
        words = _content(text)
        flat.extend(numbers.setdefault(word, len(numbers)) for word in words)
        sizes.append(len(words))
    places = np.frombuffer(flat, np.int64) if flat else np.zeros(0, np.int64)
    starts = np.cumsum([0, *sizes[:-1]])
    random = np.random.default_rng(_SEED)
    for _ in range(_BANDS if plain else 0):
        band = np.zeros(len(plain), np.uint64)
        for _ in range(_BAND_ROWS):
            values = random.integers(0, 2**63, len(numbers), np.uint64)[places]
            band = band * np.uint64(0x9E3779B97F4A7C15) + np.minimum.reduceat(values, starts)
        yield band
