"""What a training says while it goes on: what is tried, how far it is, what leads."""

from __future__ import annotations

import time
from typing import TextIO

from sentune.machine.screen import Progress

_SILENT_S = 15.0  # between two lines of a bar, where there is no terminal


class Teller:
    """Lines and bars on a screen, or nothing.

    Args:
        file: Where to; None for nowhere.

    Attributes:
        leader: What leads, in words, for the bars.
        lines: All that was said.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file
        self.leader = ""
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """A line; it is in the log of the run too."""
        self.lines.append(text)
        if self.file is not None:
            print(text, file=self.file, flush=True)  # noqa: T201  (this is what prints)

    def bar(self, label: str, steps: int) -> Bar:
        """A bar for a training of so many steps."""
        return Bar(self, label, steps)


class Bar:
    """How far a training is, with its loss and what leads."""

    def __init__(self, teller: Teller, label: str, steps: int) -> None:
        self.teller = teller
        file = teller.file
        self.said = time.monotonic()
        self.progress = None if file is None else Progress(label, steps, "steps", file)

    def show(self, step: int, loss: float) -> None:
        """Say how far it is."""
        if self.progress is not None and self._is_due():
            leads = f", {self.teller.leader} leads" if self.teller.leader else ""
            self.progress.show(step, f"loss {loss:.4f}{leads}")

    def _is_due(self) -> bool:
        if self.progress is None or self.progress.bar is not None:
            return True
        is_due = time.monotonic() - self.said >= _SILENT_S
        self.said = time.monotonic() if is_due else self.said
        return is_due

    def close(self) -> None:
        """Take the bar off the screen."""
        if self.progress is not None:
            self.progress.close()
