"""What the card of a model is told of a run: data, losses, settings, log, time and energy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import CodeCarbonCallback

from sentune.machine.randomness import seeded
from sentune.share.publish import write_card

logger = logging.getLogger(__name__)


class RunTeller(TrainerCallback):
    """Tells the card of the model in training when a run begins and when it ends.

    Nothing is encoded for the card in between: checkpoints get what is known by then.

    Args:
        trainer: Whose runs they are.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.card: Any = None
        self._began = 0.0

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Inside the block a run goes on; however it ends, the card knows that it has ended."""
        try:
            yield
        finally:
            if self.card is not None:
                self.card.is_running = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell what is trained on, with which losses and settings."""
        trainer, model = self.trainer, kwargs["model"]
        self.card, self._began = getattr(model, "model_card_data", None), time.monotonic()
        if self.card is None:
            return
        given, defaults = trainer.settings_told or settings_of(args)
        try:
            with seeded(0):  # datasets may draw numbers when their rows are read
                run = self.card.begin_run(
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
        run.log = state.log_history  # which grows, and in a resumed run has begun already

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell how long it took, which step is kept, and what was measured."""
        if self.card is None:
            return
        run = self.card.runs[-1]
        run.log = list(state.log_history)
        if args.include_num_input_tokens_seen != "no":
            run.tokens = int(state.num_input_tokens_seen)
        is_best = args.load_best_model_at_end and state.best_model_checkpoint is not None
        kept = state.best_global_step if is_best else None
        self.card.end_run(time.monotonic() - self._began, kept, self._energy())

    def finish(self, checkpoint: Path) -> None:
        """Write the card of the model that is kept once more, with all that is known at the end.

        Args:
            checkpoint: That model, if it was saved.
        """
        if self.card is None:
            return
        self.card.note_energy(self._energy())  # of a callback that came after this one
        if self.trainer.args.should_save and checkpoint.is_dir():
            write_card(self.trainer.model, checkpoint)

    def _energy(self) -> Any:
        """What codecarbon measured; None if it did not."""
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, CodeCarbonCallback):
                return getattr(callback.tracker, "final_emissions_data", None)
        return None


def settings_of(args: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a run, and the same where nothing is set.

    Args:
        args: The settings, a dataclass with `to_dict`.
    """
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
