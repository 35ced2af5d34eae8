"""Long texts -> overlapping chunks of so many tokens, cut where sentences end."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sentune.checks import check_positive
from sentune.errors import SettingError
from sentune.text.tokens import own_core

# Where a text may be cut, best first: after a sentence or paragraph, a line, a word.
_SENTENCE = re.compile(
    r"[.!?\u2026]+[\"')\]\u2019\u201d\u00bb]*(?=\s+[^\sa-z])"  # not before a small letter: "e.g. a"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\uff09]*|\n[ \t\r]*(?=\n)"
)
_LINE = re.compile(r"\n")
_WORD = re.compile(r"\S+")
_BLOCK_CHARACTERS = 1 << 16  # of a text are tokenised at a time


class Chunk(NamedTuple):
    """A part of a text: the characters from `start` up to `end`."""

    start: int
    end: int


class Chunker:
    """Cuts texts into chunks of at most `tokens` tokens, special tokens not counted.

    A chunk ends where a sentence or paragraph does, if one ends in its second half; else where a
    line does, else after a word; a longer word is split. The next chunk starts with the last whole
    sentences of the one before, as many as `overlap` tokens hold; if none fits, with its last
    words.

    Args:
        offsets: Gives the tokens of a text as pairs of characters, start and end, in order.
        tokens: Most tokens of a chunk.
        overlap: Most tokens that a chunk shares with the one before; below half of `tokens`.
    """

    def __init__(
        self, offsets: Callable[[str], Sequence[tuple[int, int]]], tokens: int, overlap: int = 0
    ) -> None:
        check_positive(tokens=tokens)
        if not isinstance(overlap, int) or not 0 <= 2 * overlap < tokens:
            raise SettingError(
                f"overlap must be at least 0 and less than half of tokens={tokens}, got {overlap!r}"
            )
        self.offsets, self.tokens, self.overlap = offsets, tokens, overlap

    def chunks(self, text: str) -> list[Chunk]:
        """The chunks of a text, without blanks at their ends; none of a text without words."""
        found, start = [], 0
        while start < len(text):
            end = min(len(text), start + self._block_size)
            for chunk, following in self._of_block(text, start, end):
                if chunk.end > chunk.start:
                    found.append(chunk)
                start = following
        return found

    @property
    def _block_size(self) -> int:
        return max(_BLOCK_CHARACTERS, 32 * self.tokens)

    def _of_block(self, text: str, start: int, end: int) -> Iterator[tuple[Chunk, int]]:
        """Chunks of a stretch of the text, each with the character where the next one starts.

        The last one of a stretch within the text is left to the next stretch, unless it is the
        only one: what comes after it decides where it ends.
        """
        is_last = end == len(text)
        block = _Block(text[start:end], self.offsets(text[start:end]))
        first = 0
        while first < len(block.starts):
            limit = min(first + self.tokens, len(block.starts))
            if limit == len(block.starts) and not is_last and first > 0:
                return
            if limit < len(block.starts):
                limit = block.last_cut(first, limit)
            begins, ends = block.starts[first], block.ends[limit - 1]
            following = limit
            if limit < len(block.starts):
                following = block.first_of_next(first, limit, self.overlap)
                after = start + block.starts[following]
            else:
                after = end
            yield _stripped(text, start + begins, start + ends), after
            first = following
        if not block.starts:
            yield Chunk(end, end), end


class _Block:
    """A stretch of text with its tokens and the places where it may be cut."""

    def __init__(self, text: str, offsets: Sequence[tuple[int, int]]) -> None:
        spans = [(start, end) for start, end in offsets if end > start]
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]
        words = [found.end() for found in _WORD.finditer(text)]
        self.levels = [
            [found.end() for found in pattern.finditer(text)] for pattern in (_SENTENCE, _LINE)
        ] + [words]

    def last_cut(self, first: int, limit: int) -> int:
        """Where a chunk from token `first` ends, before token `limit` at the latest."""
        least = first + max(1, (limit - first) // 2)
        for places in self.levels:
            cut = self._cut_before(places, first, limit)
            if cut >= least:
                return cut
        return limit

    def first_of_next(self, first: int, limit: int, overlap: int) -> int:
        """The token that the next chunk starts with: at most `overlap` before `limit`."""
        if not overlap:
            return limit
        least = max(first + 1, limit - overlap)
        for places in self.levels:
            place = bisect_left(places, self.ends[least - 1])
            while place < len(places):
                start = bisect_left(self.starts, places[place])
                if start >= limit:
                    break
                if start >= least:
                    return start
                place += 1
        return limit

    def _cut_before(self, places: list[int], first: int, limit: int) -> int:
        """The number of the token after the last place that a cut before `limit` can have."""
        place = bisect_right(places, self.starts[limit]) - 1
        if place < 0:
            return first
        return bisect_left(self.starts, places[place], first, limit)


def words(text: str) -> list[tuple[int, int]]:
    """The words of a text as tokens, for models whose tokenizer does not say where tokens are."""
    return [found.span() for found in _WORD.finditer(text)]


def tokens_of(tokenizer: Any) -> Callable[[str], Sequence[tuple[int, int]]]:
    """A function that gives the tokens of a text as a transformers tokenizer splits it."""
    core = own_core(tokenizer, None)
    if core is None:
        return words

    def offsets(text: str) -> Sequence[tuple[int, int]]:
        return core.encode(text, add_special_tokens=False).offsets

    return offsets


def _stripped(text: str, start: int, end: int) -> Chunk:
    part = text[start:end]
    inside = part.strip()
    if not inside:
        return Chunk(start, start)
    lead = len(part) - len(part.lstrip())
    return Chunk(start + lead, start + lead + len(inside))
