"""What commands put on the screen: lines, tables, a progress bar; and keeping libraries quiet."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TextIO, TypeGuard

from sentune._lazy import need

WIDTH = 100
_BAR_WIDTH = 24
_REPORTS = 10  # lines that a bar becomes where the output is no terminal
_SILENT_S = 60  # and so long is nothing said at most, if anything is done


def say(text: str = "") -> None:
    """Print a line now, not when a buffer is full."""
    print(text, flush=True)


def fit(text: str, width: int) -> str:
    """The text, truncated to the width if need be and filled up with blanks to it."""
    cut = text if len(text) <= width else text[: width - 3].rstrip(" ,.") + "..."
    return cut.ljust(width)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], indent: int = 2) -> str:
    """Text in columns: the first to the left, the others to the right."""
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    lines = []
    for first, *others in (head, *rows):
        right = [cell.rjust(width + 3) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append(" " * indent + first.ljust(widths[0]) + "".join(right))
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time in words: `4.2 s`, `58 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """How far a task is: a bar that moves on a terminal, else a plain line now and then."""

    def __init__(self, label: str, total: int, unit: str, file: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.file = file or sys.stdout
        self.start = time.perf_counter()
        self.reported, self.said = 0, self.start
        self.bar = None
        if self.file.isatty():
            from tqdm import tqdm

            layout = f"{fit(label, 10)}{{percentage:3.0f}}% |{{bar:{_BAR_WIDTH}}}| {{desc}}"
            columns, rows = shutil.get_terminal_size()
            self.bar = tqdm(
                total=total,
                bar_format=layout,
                file=self.file,
                ncols=min(WIDTH, columns),
                nrows=rows,
                leave=False,
            )

    def show(self, done: int, note: str = "") -> None:
        """Say how much is done."""
        words = ", ".join(word for word in (note, *self._pace(done)) if word)
        if self.bar is not None:
            self.bar.set_description_str(words, refresh=False)
            self.bar.update(done - self.bar.n)
        elif self._is_due(done):
            self.reported = done * _REPORTS // self.total
            self.said = time.perf_counter()
            line = f"{fit(self.label, 10)}{100 * done // self.total:3d}%  {words}"
            print(line, file=self.file, flush=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self.bar is not None:
            self.bar.close()

    def _is_due(self, done: int) -> bool:
        """Whether a plain line is to be printed: after a tenth, and in long tasks after a while."""
        is_a_part = done * _REPORTS // self.total > self.reported
        return is_a_part or time.perf_counter() - self.said >= _SILENT_S

    def _pace(self, done: int) -> list[str]:
        seconds = time.perf_counter() - self.start
        if not done or not seconds:
            return []
        left = duration(seconds / done * (self.total - done))
        speed = done / seconds
        pace = f"{speed:,.0f} {self.unit}/s" if speed >= 10 else f"{speed:.2g} {self.unit}/s"
        return [pace, f"{left} left"] if done < self.total else [pace]


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what other libraries warn of, log and load off the screen, but for the Hub's downloads.

    What sentune itself logs is for the user.
    """
    from transformers.utils import logging as transformers_logging

    with without_bars(transformers_logging), _only_own_logs(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _only_own_logs() -> Iterator[None]:
    """Let only errors through of what others log; levels are put back."""
    own = logging.getLogger("sentune")
    known = [one for one in logging.root.manager.loggerDict.values() if _is_foreign(one)]
    before = {one: one.level for one in (logging.root, own, *known)}
    own.setLevel(own.getEffectiveLevel())  # which it may have from the root
    for one in (logging.root, *known):
        one.setLevel(max(one.level, logging.ERROR))
    try:
        yield
    finally:
        for one, level in before.items():
            one.setLevel(level)


def _is_foreign(logger: Any) -> TypeGuard[logging.Logger]:
    """Whether it is a logger of another library with a level of its own."""
    is_set = isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    return is_set and logger.name.partition(".")[0] != "sentune"


def quiet_bars() -> AbstractContextManager[None]:
    """Keep the progress bars of the `datasets` library off the screen for a while."""
    return without_bars(need("datasets", extra="train"))


@contextmanager
def without_bars(library: Any) -> Iterator[None]:
    """Switch the progress bars of a Hugging Face library off; the user's setting is put back."""
    was_on = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            library.enable_progress_bar()
