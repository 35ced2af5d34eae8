"""The record of a run: data, losses, settings, log, results, time and energy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import CodeCarbonCallback

from sentune.machine.randomness import seeded
from sentune.record.run import Run
from sentune.share.publish import write_card

logger = logging.getLogger(__name__)


class SentenceTransformerModelCardCallback(TrainerCallback):
    """Fills the record of each run of a trainer, which is in the card's data of its model.

    Nothing is encoded for the card while a run goes on: checkpoints get what is known by then.
    Without this callback a run is not recorded, and the model's card says nothing about it.

    Args:
        default_args_dict: The training arguments where nothing is set; the card shows what
            differs. None for those of the arguments' class.
    """

    def __init__(self, default_args_dict: dict[str, Any] | None = None) -> None:
        self.default_args_dict = default_args_dict
        self.trainer: Any = None
        self.card: Any = None
        self.run: Run | None = None
        self._began = 0.0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside the block a run goes on; however it ends, the card knows that it has ended."""
        try:
            yield
        finally:
            if self.card is not None:
                self.card.is_running = False

    def on_init_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        trainer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Take note of the trainer that is recorded."""
        self.trainer = self.trainer if trainer is None else trainer

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Record what is trained on, with which losses and settings."""
        trainer = self.trainer
        self.card, self.run = getattr(model, "model_card_data", None), None
        if self.card is None or trainer is None:
            return
        given, defaults = trainer.settings_shown or settings_of(args)
        if trainer.settings_shown is None and self.default_args_dict is not None:
            defaults = self.default_args_dict
        try:
            with seeded(0):  # datasets may draw numbers when their rows are read
                self.run = self.card.begin_run(
                    trainer.train_dataset,
                    trainer.eval_dataset,
                    trainer.loss,
                    settings=given,
                    defaults=defaults,
                    count_tokens=_counter(model),
                )
        except Exception:  # foreign datasets and losses; a card is not worth a run
            logger.warning("the card will not tell of this run", exc_info=True)
            self.card = None
            return
        self.run.log = state.log_history  # which grows, and in a resumed run has begun already
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the step."""
        if self.run is not None:
            self.run.steps = state.global_step

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record how long it took, which step is kept, and what was measured."""
        if self.run is None:
            return
        self.run.log = list(state.log_history)
        if args.include_num_input_tokens_seen != "no":
            self.run.tokens = int(state.num_input_tokens_seen)
        is_best = args.load_best_model_at_end and state.best_model_checkpoint is not None
        kept = state.best_global_step if is_best else None
        self.card.end_run(time.monotonic() - self._began, kept, self._energy())

    def write(self, folder: str | Path) -> None:
        """Write `run.json` beside a model, with what is known by now."""
        if self.run is not None:
            write_run(self.run, folder)

    def finish(self, checkpoint: Path, folder: Path) -> None:
        """Write the record into a folder, and record and card beside the model that is kept."""
        if self.run is None:
            return
        self.card.note_energy(self._energy())  # of a callback that came after this one
        if not self.trainer.args.should_save:
            return
        if checkpoint.is_dir():
            write_card(self.trainer.model, checkpoint)
            self.write(checkpoint)
        self.write(folder)

    def _energy(self) -> Any:
        """What codecarbon measured; None if it did not."""
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, CodeCarbonCallback):
                return getattr(callback.tracker, "final_emissions_data", None)
        return None


# Other names of the same class.
BaseModelCardCallback = ModelCardCallback = SentenceTransformerModelCardCallback


def write_run(run: Run, folder: str | Path, saved_step: int | None = None) -> None:
    """Write `run.json` beside the model of a step; a disk that is full does not stop a run."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (run if saved_step is None else replace(run, saved_step=saved_step)).write(folder)
    except OSError as error:
        logger.warning("the record of the run was not written to %s: %s", folder, error)


def settings_of(args: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a run, and the same where nothing is set."""
    defaults = {
        one.name: one.default_factory() if one.default_factory is not MISSING else one.default
        for one in fields(args)
        if one.default_factory is not MISSING or one.default is not MISSING
    }
    # As `to_dict` has the choices among them.
    plain = {name: getattr(value, "value", value) for name, value in defaults.items()}
    return args.to_dict(), plain


def as_names(given: str | Sequence[str] | None) -> list[str]:
    """The names in an argument that holds one, several or none."""
    return [given] if isinstance(given, str) else list(given or ())


def _counter(model: Any) -> Callable[[list[str]], Sequence[int]] | None:
    """What counts the tokens of texts; None where the model's first module cannot tell."""
    try:
        model.read(["a text"])["lengths"]
    except Exception:  # padded tokens; a route that must be named; code of the user's
        return None
    return lambda texts: model.read(texts)["lengths"]
