"""What is recorded of a model: what it was made from, its runs, what evaluators found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentune.data.statistics import CountTokens
from sentune.hub import fetch
from sentune.record import facts
from sentune.record.run import LossFacts, Result, Run

BLOCK = re.compile(r"\A(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z))")
_OUTSIDE = (-1, 0)  # steps of what was measured outside of a run
_BASE = re.compile(r"^base_model: *['\"]?([\w./-]+)['\"]? *$", re.MULTILINE)


@dataclass
class ModelRecord:
    """What is recorded as a model is loaded, trained and evaluated.

    `base_model` and `base_model_revision`: the Hub id of the model that this one was made from, and
    its commit; `runs` since it was made or loaded, or else its `losses`; `results` of evaluators,
    in order; `emissions`, in grams, and more of what the Hub reads as `co2_eq_emissions`;
    `loaded_card`; `is_running`, during which nothing is computed for the card.
    """

    base_model: str | None = field(default=None, init=False)
    base_model_revision: str | None = field(default=None, init=False)
    runs: list[Run] = field(default_factory=list, init=False, repr=False)
    losses: list[LossFacts] = field(default_factory=list, init=False, repr=False)
    results: list[Result] = field(default_factory=list, init=False, repr=False)
    emissions: dict[str, Any] | None = field(default=None, init=False, repr=False)
    loaded_card: str | None = field(default=None, init=False, repr=False)
    is_running: bool = field(default=False, init=False, repr=False)

    @property
    def loss_names(self) -> list[str]:
        """Names of the losses, those inside others too."""
        return list(dict.fromkeys(loss.name for loss in self.all_losses))

    @property
    def all_losses(self) -> list[LossFacts]:
        """The losses, those inside others too."""
        losses = [loss for run in self.runs for loss in run.losses] or self.losses
        return [part for loss in losses for part in loss.nested()]

    @property
    def final_results(self) -> list[Result]:
        """What each evaluator found of the model that is kept: at its step, else at last."""
        kept = self.runs[-1].saved_step if self.runs else None
        final: dict[tuple[str, str, str | None], Result] = {}
        for result in self.results:
            key = (result.kind, result.name, repr(result.settings))
            before = final.get(key)
            if before is None or before.step != kept or result.step in (kept, *_OUTSIDE):
                final[key] = result
        return list(final.values())

    # What is noted ------------------------------------------------------------------------------

    def set_evaluation_metrics(
        self, evaluator: Any, metrics: Mapping[str, Any], epoch: float = 0, step: int = 0
    ) -> None:
        """Note what an evaluator found; metrics may begin with its name. Evaluators call this."""
        result = facts.result_of(evaluator, metrics, epoch, step)
        self.results.append(result)
        if self.is_running and self.runs:
            self.runs[-1].results.append(result)

    def set_losses(self, losses: Iterable[Any]) -> None:
        """Note the losses that a model was trained with, where no run says so."""
        self.losses = [facts.facts_of_loss(loss) for loss in losses]

    def begin_run(
        self,
        train: Any = None,
        eval: Any = None,
        losses: Any = None,
        *,
        settings: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        count_tokens: CountTokens | None = None,
    ) -> Run:
        """Note that a training run begins; the caller fills its log as it goes.

        What was measured before is about another model and is removed. Datasets and losses are one,
        or a dict by name; `defaults` are the settings of a run in which nothing is set.
        """
        shown, changed = facts.facts_of_settings(settings or {}, defaults or {})
        run = Run(
            train=facts.facts_of_data(train, losses, count_tokens),
            eval=facts.facts_of_data(eval, losses, count_tokens),
            settings=shown,
            changed=changed,
            versions=facts.versions(),
        )
        self.results = []
        self.runs.append(run)
        self.is_running = True
        return run

    def end_run(
        self, seconds: float | None = None, saved_step: int | None = None, energy: Any = None
    ) -> None:
        """Note that the run is over, and the step whose model is kept; None for the last."""
        self.is_running = False
        self.note_energy(energy)
        if self.runs:
            run = self.runs[-1]
            run.seconds, run.saved_step, run.hardware = seconds, saved_step, facts.hardware()

    def note_energy(self, energy: Any) -> None:
        """Note what codecarbon measured of a run, its `EmissionsData`; None if it did not."""
        if energy is not None:
            self.emissions = facts.emissions(energy)
            if self.runs:
                self.runs[-1].emissions = self.emissions

    def note_source(self, source: str | Path, folder: Path | None, card: str | None) -> None:
        """Note where a model was loaded from: as the user named it, its folder, its README.md."""
        self.loaded_card = card
        found = fetch.origin(folder) or fetch.origin(source)
        # A folder of the user's own may say what its model was made from.
        self.base_model, self.base_model_revision = found or (base_in(card or ""), None)


def base_in(text: str) -> str | None:
    """The model that a card says its own was made from; None if it says nothing of it."""
    # Not parsed: the results of a benchmark in it can take seconds.
    found = BLOCK.match(text)
    named = _BASE.search(found[2]) if found else None
    return named[1] if named and fetch.is_id(named[1]) else None
