"""The model card: what is gathered about a model while it is trained and evaluated, and the text.

Nothing here asks the Hub, and nothing is encoded but the three sentences of the card's own code.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from sentune._version import __version__
from sentune.errors import ModelFileError
from sentune.files import card_run, card_usage, hub
from sentune.files.card_body import Subject, body
from sentune.files.card_front import base_in, front_matter, said_of, with_facts
from sentune.files.card_model import AboutModel, about
from sentune.files.card_run import CountTokens, LossFacts, Run, facts_of_data, facts_of_loss
from sentune.files.folder import ModelFolder

logger = logging.getLogger(__name__)

README = "README.md"
_MOST_CARD_BYTES = 4 * 2**20
_TASK = "search by meaning, comparing and grouping texts, finding paraphrases, and classification"
_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate")


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Args:
        kind: The kind of evaluation, in words.
        name: Of the data.
        metrics: Metric -> value, without the name in front.
        primary: The metric that counts.
        settings: Of the evaluator.
        epoch: When it was; -1 outside of training.
        step: After how many steps; -1 outside of training.
    """

    kind: str
    name: str
    metrics: Mapping[str, float]
    primary: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    epoch: float = -1
    step: int = -1


@dataclass
class SentenceTransformerModelCardData:
    """What is known for a model's card.

    Args:
        language: Code or codes of the languages it reads: "en", "multilingual".
        license: As the Hub names it: "apache-2.0".
        model_name: How the card calls the model.
        model_id: Its id on the Hub.
        train_datasets: What it was trained on: ids on the Hub, or dicts with "name" and "id".
        eval_datasets: What it was evaluated on, likewise.
        task_name: What it is good for, in words.
        tags: Tags to add to those that every such model has.
        local_files_only: For callers that give it; the Hub is never asked for a card.
        generate_widget_examples: Whether the first training rows become examples on its page.

    Attributes:
        base_model: Hub id of the model that this one was made from.
        runs: The training runs since the model was made or loaded.
        losses: What it was trained with, if there is no run to say so.
        results: What evaluators found, in order.
        emissions: What the Hub reads as `co2_eq_emissions`: "emissions" in grams, and more.
        loaded_card: The card that the model came with.
        is_running: Whether a training run is going on; nothing is computed for the card then.
    """

    language: str | list[str] | None = None
    license: str | None = None
    model_name: str | None = None
    model_id: str | None = None
    train_datasets: list[Any] = field(default_factory=list)
    eval_datasets: list[Any] = field(default_factory=list)
    task_name: str | None = None
    tags: list[str] | None = field(default_factory=list)
    local_files_only: bool = False
    generate_widget_examples: bool = True
    base_model: str | None = field(default=None, init=False)
    runs: list[Run] = field(default_factory=list, init=False, repr=False)
    losses: list[LossFacts] = field(default_factory=list, init=False, repr=False)
    results: list[Result] = field(default_factory=list, init=False, repr=False)
    emissions: dict[str, Any] | None = field(default=None, init=False)
    loaded_card: str | None = field(default=None, init=False, repr=False)
    is_running: bool = field(default=False, init=False, repr=False)

    @property
    def task(self) -> str:
        """What the model is good for."""
        return self.task_name or _TASK

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
            if before is None or before.step != kept or result.step in (kept, -1):
                final[key] = result
        return list(final.values())

    # What others tell ---------------------------------------------------------------------------

    def set_evaluation_metrics(
        self, evaluator: Any, metrics: Mapping[str, Any], epoch: float = -1, step: int = -1
    ) -> None:
        """Note what an evaluator found; evaluators call it.

        Args:
            evaluator: The evaluator.
            metrics: Metric -> value; names may begin with the evaluator's name.
            epoch: When it was.
            step: After how many steps.
        """
        name = str(getattr(evaluator, "name", "") or "")
        start = f"{name}_" if name else ""
        primary = getattr(evaluator, "primary_metric", None)
        tell = getattr(evaluator, "get_config_dict", dict)
        kind = getattr(evaluator, "description", None) or type(evaluator).__name__
        values = {
            metric.removeprefix(start): float(value)
            for metric, value in metrics.items()
            if isinstance(value, (int, float))
        }
        primary = primary.removeprefix(start) if isinstance(primary, str) else None
        result = Result(str(kind), name, values, primary, dict(tell() or {}), epoch, step)
        self.results.append(result)

    def set_losses(self, losses: Iterable[Any]) -> None:
        """Note what a model was trained with, where no run tells it.

        Args:
            losses: The losses.
        """
        self.losses = [facts_of_loss(loss) for loss in losses]

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

        What was measured before is about another model and is forgotten.

        Args:
            train: The training dataset, or a dict of them.
            eval: The evaluation dataset, or a dict of them.
            losses: The loss, or dataset name -> loss.
            settings: All settings of the run.
            defaults: The same where nothing is set.
            count_tokens: Texts -> tokens of each, for the statistics.
        """
        shown = card_run.settings_shown(settings or {})
        run = Run(
            train=facts_of_data(train, losses, count_tokens),
            eval=facts_of_data(eval, losses, count_tokens),
            settings=shown,
            changed=card_run.changed(shown, defaults or {}),
        )
        self.results = []
        self.runs.append(run)
        self.is_running = True
        return run

    def end_run(
        self, seconds: float | None = None, saved_step: int | None = None, energy: Any = None
    ) -> None:
        """Note that the run is over.

        Args:
            seconds: How long it took.
            saved_step: The step whose model is kept; None for the last.
            energy: What codecarbon measured, its `EmissionsData`.
        """
        self.is_running = False
        self.note_energy(energy)
        if self.runs:
            self.runs[-1].seconds, self.runs[-1].saved_step = seconds, saved_step
            self.runs[-1].hardware = card_run.hardware()

    def note_energy(self, energy: Any) -> None:
        """Note what a run took of energy.

        Args:
            energy: What codecarbon measured, its `EmissionsData`; None if it did not.
        """
        if energy is not None:
            self.emissions = card_run.emissions(energy)

    def note_source(self, source: str | Path, folder: Path | None) -> None:
        """Note where a model was loaded from, and the card it came with.

        Args:
            source: As the user named it.
            folder: Where its files are.
        """
        self.loaded_card = None if folder is None else _read_card(folder)
        found = hub.origin(folder) or hub.origin(source)
        # A folder of somebody's own may say what its model was made from.
        self.base_model = found[0] if found else base_in(self.loaded_card or "")


def text(
    model: Any,
    *,
    model_name: str | None = None,
    train_datasets: Sequence[Any] | None = None,
    model_id: str | None = None,
    step: int | None = None,
) -> str | None:
    """The card of a model; None if none can be written, which is logged.

    A model that was loaded and not trained keeps the card it came with; what its author says
    beyond that, and what evaluators found, is added to the front of it.

    Args:
        model: A SentenceTransformer with `model_card_data`.
        model_name: How the card calls it.
        train_datasets: Ids of datasets it was trained on, besides those that are known.
        model_id: Its id on the Hub.
        step: Of the last run, the step that the card is about where the model in memory went on
            from it; nothing is encoded then.
    """
    try:
        card = _with(model.model_card_data, model_name, train_datasets, model_id)
        if step is not None and card.runs:
            card.runs = [*card.runs[:-1], replace(card.runs[-1], saved_step=step)]
            card.is_running = True  # as far as the weights at hand are concerned
        if card.loaded_card is not None and not card.runs and not card.losses:
            return with_facts(card.loaded_card, said_of(card), card.tags or ())
        return _new_card(card, model)
    except Exception:  # a card is not worth a save
        logger.warning("no card can be written for the model", exc_info=True)
        return None


def _with(
    known: SentenceTransformerModelCardData | None,
    model_name: str | None,
    train_datasets: Sequence[Any] | None,
    model_id: str | None,
) -> SentenceTransformerModelCardData:
    """A copy of what is known, with some more."""
    fresh = copy(known or SentenceTransformerModelCardData())
    fresh.model_name = model_name or fresh.model_name
    fresh.model_id = model_id or fresh.model_id
    fresh.train_datasets = [*_listed(fresh.train_datasets), *_listed(train_datasets)]
    return fresh


def _listed(given: Any) -> list[Any]:
    """What was given as one or as several."""
    return [given] if isinstance(given, (str, Mapping)) else list(given or ())


def _new_card(card: SentenceTransformerModelCardData, model: Any) -> str:
    facts = about(model)
    base = card.base_model or (facts.encoder[0] if facts.encoder else None)
    own = (card.model_id or "").rpartition("/")[2]
    name = card.model_name or own or (f"Embeddings from {base}" if base else "Sentence embeddings")
    named = card.model_name if hub.is_id(card.model_name) else None
    subject = Subject(
        card=card,
        model=facts,
        name=name,
        place=card.model_id or named,
        base=base,
        printed=[] if card.is_running else _printed(model, facts),
        versions=_versions(),
    )
    return f"{front_matter(card, name, base)}\n{body(subject)}"


def _printed(model: Any, facts: AboutModel) -> list[str]:
    """What the card's code prints; nothing for a model that does not take plain texts."""
    try:
        return card_usage.run(model, facts)
    except Exception as error:
        logger.debug("the card's code was not run: %s", error)
        return []


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "sentune": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _read_card(folder: Path) -> str | None:
    try:
        path = ModelFolder(folder).file(README)
        if path is None or path.stat().st_size > _MOST_CARD_BYTES:
            return None
        content = path.read_text(encoding="utf-8")
        return content if content.strip() else None
    except (ModelFileError, OSError, ValueError) as error:
        logger.debug("the card in %s cannot be read: %s", folder, error)
        return None
