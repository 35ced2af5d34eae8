"""In which encoding a text file is, and its content in UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from sentune.errors import SettingError

_BLOCK = 1 << 20
_SAMPLE = 1 << 16  # bytes at the start that show whether characters have two bytes each
_BOMS = (
    (codecs.BOM_UTF8, ""),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MANY_ZEROS, _FEW_ZEROS = 0.4, 0.05  # of the bytes of a half
_NOT_IN_CP1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
_MOST_ACCENTS = 0.4  # of the characters of a text in Latin letters
_MARK = "sentune.mark"


class Look(NamedTuple):
    """What a look over a text file shows.

    Attributes:
        encoding: Empty for UTF-8.
        is_guessed: Whether another one is possible.
        lines: How many it has; None if that is not known, or a row of a table may end elsewhere: at
            a carriage return alone, or nowhere, for a quote in the last line is not closed.
        has_old_ends: Whether lines end with carriage returns alone.
    """

    encoding: str
    is_guessed: bool
    lines: int | None
    has_old_ends: bool


class Transcoded(io.RawIOBase):
    """A stream of bytes in an encoding as one in UTF-8.

    What cannot be decoded becomes bytes that are not UTF-8, so that who reads them sees it.
    """

    def __init__(self, stream: IO[bytes], encoding: str, has_old_ends: bool = False) -> None:
        self._stream, self._has_old_ends = stream, has_old_ends
        self._decoder = codecs.getincrementaldecoder(encoding)(_MARK)
        self._left = b""
        self._is_over = False

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something."""
        while not self._left and not self._is_over:
            block = self._stream.read(_BLOCK)
            self._is_over = not block
            text = self._decoder.decode(block, self._is_over)
            if self._has_old_ends:
                text = text.replace("\r", "\n")
            self._left = text.encode("utf-8", "surrogatepass")
        some, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(some)] = some
        return len(some)


def checked(encoding: str) -> str:
    """The encoding by the name that `File` has it: empty for UTF-8.

    Raises:
        SettingError: If there is none of that name.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise SettingError(
            f"there is no encoding {encoding!r}; names are utf-8, utf-16, latin-1, cp1252, gb18030 "
            "and others of Python"
        ) from error
    return "" if name in ("utf-8", "utf-8-sig", "ascii") else name


def look(stream: IO[bytes], asked: str | None = None) -> Look:
    """Find the encoding of a text, by its first bytes or by all of them; or take the one asked for.

    Args:
        stream: The text.
        asked: As `checked` gives it.
    """
    first = stream.read(_BLOCK)
    encoding = asked
    if encoding is None:
        marked = [name for mark, name in _BOMS if first.startswith(mark)]
        encoding = marked[0] if marked else _without_mark(first[:_SAMPLE])
    if encoding and encoding.startswith(("utf-16", "utf-32")):
        start = first.decode(encoding, "ignore")
        return Look(encoding, False, None, "\r" in start and "\n" not in start)
    has_old_ends = b"\r" in first and b"\n" not in first
    counts = _Counts(b"\r" if has_old_ends else b"\n")
    for block in _blocks(first, stream):
        counts.see(block)
    is_guessed = encoding is None and counts.wrong > counts.right
    encoding = _one_byte(counts) if is_guessed else encoding or ""
    is_broken = not encoding and counts.wrong > 0
    return Look(encoding, is_guessed, None if is_broken else counts.plain_lines(), has_old_ends)


def _without_mark(first: bytes) -> str | None:
    """UTF-16 of mostly Latin letters has zeros in every second place."""
    half = max(1, len(first) // 2)
    low, high = first[1::2].count(0) / half, first[::2].count(0) / half
    if low > _MANY_ZEROS and high < _FEW_ZEROS:
        return "utf-16-le"
    if high > _MANY_ZEROS and low < _FEW_ZEROS:
        return "utf-16-be"
    return None


def _blocks(first: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    block = first
    while block:
        yield block
        block = stream.read(_BLOCK)
    yield b""


class _Counts:
    """What is in a text: lines, characters in UTF-8, and bytes that are not UTF-8."""

    def __init__(self, line_end: bytes) -> None:
        self._line_end = line_end
        self._strict = codecs.getincrementaldecoder("utf-8")()
        self._other = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.lines = self.right = self.wrong = 0
        self._is_ended = True  # whether the last line is
        self._returns = 0  # carriage returns that are not part of a line end
        self._tail = b""
        self.sample = b""  # some of the text around what is not UTF-8
        self.has_odd = False  # whether a byte is there that cp1252 has no character for

    def see(self, block: bytes) -> None:
        """Take note of the next bytes; none are the end."""
        self.lines += block.count(self._line_end) if block else not self._is_ended
        self._is_ended = block.endswith(self._line_end)
        if block:
            self._returns += block.count(b"\r") - block.count(b"\r\n")
            self._returns -= self._tail.endswith(b"\r") and block.startswith(b"\n")
            self._tail = (self._tail + block)[-_SAMPLE:]
        before, _ = self._strict.getstate()
        if block and block.isascii() and not before:
            return
        try:
            text = self._strict.decode(block, not block)
        except UnicodeDecodeError as error:
            text = self._wrong(block, error.start)
        after, _ = self._strict.getstate()
        # A character of several bytes has all of them but one more than it counts.
        self.right += len(before) + len(block) - len(after) - len(text)

    def plain_lines(self) -> int | None:
        """The lines, if each ends where a row of a table would."""
        last = self._tail.rstrip(b"\r\n").rsplit(self._line_end, 1)[-1]
        has_returns = self._returns != 0 and self._line_end == b"\n"
        return None if has_returns or last.count(b'"') % 2 else self.lines

    def _wrong(self, block: bytes, first: int) -> str:
        self._other.setstate(self._strict.getstate())
        text = self._other.decode(block, not block)
        self._strict.setstate(self._other.getstate())
        self.wrong += len(text) - len(text.encode("utf-8", "ignore").decode("utf-8"))
        self.has_odd = self.has_odd or any(byte in block for byte in _NOT_IN_CP1252)
        if len(self.sample) < _SAMPLE:
            self.sample += block[max(0, first - _SAMPLE // 2) :][:_SAMPLE]
        return text


def _one_byte(counts: _Counts) -> str:
    """An encoding of texts that are not UTF-8: Latin letters with accents, or another script."""
    letters = [byte for byte in counts.sample if byte > 0x40]
    if sum(byte > 0x7F for byte in letters) > _MOST_ACCENTS * len(letters):
        try:
            from charset_normalizer import from_bytes
        except ImportError:
            pass
        else:
            best = from_bytes(counts.sample).best()
            if best is not None:
                return str(best.encoding)
    return "latin-1" if counts.has_odd else "cp1252"


def _mark(error: UnicodeError) -> tuple[str, int]:
    """In place of what cannot be decoded, half of a character, which is not UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_MARK, _mark)
