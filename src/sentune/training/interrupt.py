"""Ctrl-C during training: finish the step, save, and say how to go on."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl

logger = logging.getLogger(__name__)


class StopOnInterrupt(TrainerCallback):
    """Asks the trainer to save and stop at the end of a step, once Ctrl-C was pressed.

    A second Ctrl-C stops at once, without saving.
    """

    def __init__(self) -> None:
        self.is_pressed = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside the block, Ctrl-C is taken note of; only the main thread can do that."""
        self.is_pressed = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for it."""
        if self.is_pressed:
            control.should_save = True
            control.should_training_stop = True

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.is_pressed:
            raise KeyboardInterrupt
        self.is_pressed = True
        logger.warning("Ctrl-C: saving after this step. Press it again to stop at once, unsaved.")
