"""Ctrl-C during training: finish the step, save, and say how to go on."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl

from sentune.machine.distributed import is_distributed

logger = logging.getLogger(__name__)

# torchrun passes Ctrl-C on to processes that the terminal has told already.
_ECHO_S = 2.0
# Asking the other processes waits for the device: on a GPU it is not done in every step.
_STEPS_BETWEEN = 10


class StopOnInterrupt(TrainerCallback):
    """Asks the trainer to save and stop at the end of a step, once Ctrl-C was pressed.

    A second Ctrl-C stops at once, without saving. Of several processes, all stop after the same
    step, also where not all of them, or not all in the same step, were told.
    """

    def __init__(self) -> None:
        self.is_pressed = False
        self._pressed_at = 0.0

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
        if args.device.type == "cpu" or state.global_step % _STEPS_BETWEEN == 0:
            self.settle(args.device)
            if self.is_pressed:
                control.should_save = True
                control.should_training_stop = True

    def settle(self, device: torch.device) -> None:
        """Take it as pressed if it was pressed in any process; all of them have to ask."""
        if is_distributed():
            pressed = torch.tensor(int(self.is_pressed), device=device)
            distributed.all_reduce(pressed, distributed.ReduceOp.MAX)
            self.is_pressed = bool(pressed)

    def _press(self, number: int, frame: FrameType | None) -> None:
        before, self._pressed_at = self._pressed_at, time.monotonic()
        if is_distributed() and self._pressed_at - before < _ECHO_S:
            return
        if self.is_pressed:
            raise KeyboardInterrupt
        self.is_pressed = True
        logger.warning("Ctrl-C: saving after this step. Press it again to stop at once, unsaved.")
