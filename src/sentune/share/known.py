"""What an author says of a model, and what was recorded of it, in one object."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Hashable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from huggingface_hub import CardData

from sentune.record import facts
from sentune.record.model import ModelRecord
from sentune.record.run import Result, Run
from sentune.share import described, kinds

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).with_name("card.md.jinja")
_SEARCH_EVALUATORS = {"InformationRetrievalEvaluator", "NanoBEIREvaluator"}


@dataclass
class Known(ModelRecord, CardData):
    """What is known for the card of a model of any kind.

    What is no argument is filled as the model is loaded, trained and evaluated. It can be read, and
    what is set there is what the card shows. The Hub is not asked for any of it, unless one of the
    methods `validate_datasets` and `set_base_model` is called.

    Args:
        language: Code or codes of the languages it reads: "en", "multilingual".
        license: As the Hub names it: "apache-2.0".
        model_name: How the card calls the model.
        model_id: Its id on the Hub, with the owner.
        train_datasets: What it was trained on: ids on the Hub, or dicts with "name" and "id".
        eval_datasets: What it was evaluated on, likewise.
        task_name: What it is good for, in words.
        tags: Tags to add to those that every such model has.
        local_files_only: Whether `validate_datasets` and `set_base_model` may not ask the Hub.
        generate_widget_examples: Whether the first training rows become examples on its page.
    """

    language: str | list[str] | None = field(default_factory=list)
    license: str | None = None
    model_name: str | None = None
    model_id: str | None = None
    train_datasets: list[Any] = field(default_factory=list)
    eval_datasets: list[Any] = field(default_factory=list)
    task_name: str | None = "retrieval"
    tags: list[str] = field(default_factory=lambda: list(kinds.SENTENCE_TAGS[:3]))
    local_files_only: bool = False
    generate_widget_examples: bool = True
    eval_results_dict: dict[Any, dict[str, Any]] = field(
        default_factory=dict, init=False, repr=False
    )
    widget: list[dict[str, Any]] = field(default_factory=list, init=False)
    usage_examples: list[Any] | None = field(default=None, init=False)
    usage_examples_display: list[Any] | None = field(default=None, init=False, repr=False)
    label_example_list: list[dict[str, str]] = field(default_factory=list, init=False)
    code_carbon_callback: Any = field(default=None, init=False)
    citations: dict[str, str] = field(default_factory=dict, init=False)
    ir_model: bool | None = field(default=None, init=False, repr=False)
    datasets: list[str] = field(default_factory=list, init=False, repr=False)
    similarities: str | None = field(default=None, init=False, repr=False)
    first_save: bool = field(default=True, init=False)
    widget_step: int = field(default=-1, init=False)
    save_dir: str | None = field(default=None, init=False, repr=False)
    pipeline_tag: str = field(default="sentence-similarity", init=False)
    library_name: str = field(default=kinds.LIBRARY, init=False)
    template_path: Path = field(default=TEMPLATE, init=False, repr=False)

    def __post_init__(self) -> None:
        self._model: Any = None  # a weak reference: the model holds its card
        self._logs: list[dict[str, Any]] = []
        self._logged: list[dict[str, Any]] = []  # the part of `_logs` that was recorded
        self._alone = Run()  # what is set where there is no run
        self._more_seconds = 0.0
        if isinstance(self.language, str):
            self.language = [self.language]
        self.train_datasets = named(self.train_datasets)
        self.eval_datasets = named(self.eval_datasets)
        if self.model_id and self.model_id.count("/") != 1:
            logger.warning(
                "model_id must be 'owner/name', got %r, which the card leaves out", self.model_id
            )
            self.model_id = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}  # a copied or loaded model registers itself

    # What is recorded ---------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The model; None before `register_model`."""
        return None if self._model is None else self._model()

    @model.setter
    def model(self, model: Any) -> None:
        self._model = None if model is None else weakref.ref(model)

    @property
    def last_run(self) -> Run:
        """The last run; without one, what was set."""
        return self.runs[-1] if self.runs else self._alone

    @property
    def all_hyperparameters(self) -> dict[str, Any]:
        """The settings of the last run, without secrets and places."""
        return self.last_run.settings

    @all_hyperparameters.setter
    def all_hyperparameters(self, settings: dict[str, Any]) -> None:
        self.last_run.settings = settings

    @property
    def non_default_hyperparameters(self) -> dict[str, Any]:
        """Those settings of the last run that are not the default."""
        run = self.last_run
        return {name: run.settings[name] for name in run.changed if name in run.settings}

    @non_default_hyperparameters.setter
    def non_default_hyperparameters(self, settings: dict[str, Any]) -> None:
        self.last_run.settings.update(settings)
        self.last_run.changed = list(settings)

    @property
    def best_model_step(self) -> int | None:
        """The step of the last run whose model is kept; None for the last one."""
        return self.last_run.saved_step

    @best_model_step.setter
    def best_model_step(self, step: int | None) -> None:
        self.last_run.saved_step = step

    @property
    def evaluation_duration(self) -> float:
        """Seconds that evaluations took in all runs."""
        return self._more_seconds + sum(sum(run.logged("eval_runtime")) for run in self.runs)

    @evaluation_duration.setter
    def evaluation_duration(self, seconds: float) -> None:
        self._more_seconds += seconds - self.evaluation_duration

    @property
    def training_logs(self) -> list[dict[str, Any]]:
        """The log: a dict per step with "Epoch", "Step", losses and deciding metrics.

        It is the same list each time; rows that are added to it are shown in the card, too.
        """
        found = described.logs(self.runs, self.results)
        if found != self._logged:
            self._logs[:] = [*deepcopy(found), *self._added()]
            self._logged = found
        return self._logs

    @training_logs.setter
    def training_logs(self, rows: list[dict[str, Any]]) -> None:
        self._logs, self._logged = rows, described.logs(self.runs, self.results)

    @property
    def added_logs(self) -> list[dict[str, Any]]:
        """The rows of the log that were not recorded by a run."""
        return [row for row in self.training_logs if row in self._added()]

    def _added(self) -> list[dict[str, Any]]:
        return [row for row in self._logs if row not in self._logged]

    @property
    def final_results(self) -> list[Result]:
        """What each evaluator found of the model that is kept, and what was set by hand."""
        found = super().final_results
        known = {(one.kind, one.name, repr(one.settings)) for one in found}
        given = [facts.result_of(*one, -1, -1) for one in self.eval_results_dict.items()]
        return found + [r for r in given if (r.kind, r.name, repr(r.settings)) not in known]

    def set_evaluation_metrics(
        self, evaluator: Any, metrics: Mapping[str, Any], epoch: float = 0, step: int = 0
    ) -> None:
        """Note what an evaluator found; metrics may begin with its name. Evaluators call this."""
        super().set_evaluation_metrics(evaluator, metrics, epoch, step)
        if isinstance(evaluator, Hashable):  # others are known by their results alone
            self.eval_results_dict[evaluator] = dict(metrics)

    @property
    def is_search(self) -> bool | None:
        """Whether the card's code searches; None where the model decides."""
        self.try_to_set_ir_model_from_evaluators()
        return self.ir_model

    def try_to_set_ir_model_from_evaluators(self) -> None:
        """Take a model for one that searches, where an evaluator of search was used."""
        parts = [
            part for one in self.eval_results_dict for part in getattr(one, "evaluators", [one])
        ]
        names = {kind.__name__ for part in parts for kind in type(part).__mro__}
        if self.ir_model is None and names & _SEARCH_EVALUATORS:
            self.ir_model = True

    # What is set --------------------------------------------------------------------------------

    def set_model_id(self, model_id: str) -> None:
        """Set the id of the model on the Hub."""
        self.model_id = model_id

    def set_language(self, language: str | list[str]) -> None:
        """Set the languages that the model reads."""
        self.language = [language] if isinstance(language, str) else language

    def set_license(self, license: str) -> None:
        """Set the license."""
        self.license = license

    def add_tags(self, tags: str | list[str]) -> None:
        """Add one tag or several, each once."""
        for tag in [tags] if isinstance(tags, str) else tags:
            if tag not in self.tags:
                self.tags.append(tag)

    def set_best_model_step(self, step: int) -> None:
        """Note the step of the last run whose model is kept."""
        self.best_model_step = step

    @property
    def own_tags(self) -> list[str]:
        """The tags besides those that every such model has."""
        usual: Any = next(one.default_factory for one in fields(self) if one.name == "tags")
        return [tag for tag in self.tags or () if tag not in usual()]

    def get_codecarbon_data(self) -> dict[str, Any]:
        """What codecarbon measured, as `co2_eq_emissions`; {} if it did not."""
        tracker = getattr(self.code_carbon_callback, "tracker", None)
        found = self.emissions
        if tracker is not None and getattr(tracker, "_start_time", None) is not None:
            found = facts.emissions(tracker._prepare_emissions_data())
        return {"co2_eq_emissions": found} if found else {}

    def get_training_duration_data(self) -> dict[str, str | None]:
        """How long the last run took, and its evaluations, in words; None where not known."""
        names = ("training_time", "evaluation_time", "total_time")
        seconds, evaluation = self.last_run.seconds, self.evaluation_duration
        if seconds is None:
            return dict.fromkeys(names)
        times = (seconds - evaluation, evaluation, seconds) if evaluation else (seconds, None, None)
        words = (None if time is None else described.duration(time) for time in times)
        return dict(zip(names, words, strict=True))


def listed(given: Any) -> list[Any]:
    """One value or several as a list."""
    return [given] if isinstance(given, (str, Mapping)) else list(given or ())


def named(given: Any) -> list[Any]:
    """Descriptions of datasets, each with a name; what is no dict stays."""
    found = [dict(one) if isinstance(one, Mapping) else one for one in listed(given)]
    for one in found:
        if isinstance(one, dict) and "id" in one:
            one.setdefault("name", one["id"])
    return found
