"""What is known for the card of a model: what its author says, and what was recorded."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sentune.compat.addresses import RELEASE
from sentune.errors import SettingError
from sentune.hub import fetch
from sentune.record import facts
from sentune.record.citations import by_loss
from sentune.record.model import ModelRecord
from sentune.record.run import DatasetFacts, LossFacts, Run
from sentune.share import described, front, kinds
from sentune.share.known import Known, listed, named

logger = logging.getLogger(__name__)

_SEARCH_COLUMNS = {"query", "question"}
_SEARCH_PROMPTS = ("query", "document", "passage", "corpus")
_SIMILARITIES = {
    "cosine": "Cosine Similarity",
    "dot": "Dot Product",
    "euclidean": "Euclidean Distance",
    "manhattan": "Manhattan Distance",
}
# Besides the fields, what templates of cards ask for.
_VIEWS = ("all_hyperparameters", "non_default_hyperparameters", "training_logs", "best_model_step")
# Not for templates.
_INNER = {field.name for field in fields(ModelRecord)} - {"base_model", "base_model_revision"}
_INNER |= {"eval_results_dict", "save_dir", "usage_examples_display"}
_LABEL_EXAMPLES = 3
_INNER_LOSSES = ("loss", "document_regularizer", "query_regularizer")


@dataclass
class BaseModelCardData(Known):
    """What is known for the card of a model of any kind, and what the card says of it.

    The arguments are those of `Known`.
    """

    @property
    def version(self) -> dict[str, str]:
        """The versions of Python and of the packages that decide what a run gives."""
        return get_versions()

    def set_losses(self, losses: Iterable[Any]) -> None:
        """Note the losses that a model was trained with, where no run says so."""
        losses = list(losses)
        super().set_losses(losses)
        self._note_losses(self.losses)

    def begin_run(self, train: Any = None, eval: Any = None, losses: Any = None, **how: Any) -> Run:
        """As `ModelRecord.begin_run`; and note what the card says of the run."""
        run = super().begin_run(train, eval, losses, **how)
        self.eval_results_dict.clear()
        self._note_run(run)
        return run

    def add_run(self, run: Run) -> None:
        """Note a run that is over, as its `run.json` records it, and what was measured in it."""
        self.runs.append(run)
        self.results = list(run.results)
        self._note_run(run)

    def _note_run(self, run: Run) -> None:
        self.add_tags("generated_from_trainer")
        if size := sum(one.size for one in self.runs):
            is_size = re.compile("dataset_size:.*")
            self.add_tags(new := f"dataset_size:{size}")
            self.tags = [new if is_size.fullmatch(str(tag)) else tag for tag in self.tags]
            self.tags = list(dict.fromkeys(self.tags))
        self._note_losses(run.losses)
        self.datasets += [
            data.hub_id for data in run.train if data.hub_id and data.hub_id not in self.datasets
        ]
        if not self.widget and self.generate_widget_examples:
            self.widget = front.widgets(run.train)
        if self.ir_model is None and _is_search(run.train):
            self.ir_model = True

    def _note_losses(self, losses: Iterable[LossFacts]) -> None:
        names = [part.name for loss in losses for part in loss.nested()]
        self.add_tags([f"loss:{name}" for name in names])
        self.citations |= by_loss(names)

    def register_model(self, model: Any) -> None:
        """Note which model the card is of."""
        self.model = model
        has_routes = any(type(module).__name__ == "Router" for module in model.children())
        if self.ir_model is None and (has_routes or any(map(model.prompts.get, _SEARCH_PROMPTS))):
            self.ir_model = True

    def set_base_model(self, model_id: str, revision: str | None = None) -> bool:
        """Note the model that this one was made from, if the Hub has it; whether it has.

        It asks the Hub, unless `local_files_only` is set: then nothing is noted.
        """
        found = None if self.local_files_only else fetch.published(model_id, "model", revision)
        if found is not None:
            self.base_model = found.id
            self.base_model_revision = found.sha if revision in (None, "main") else revision
        return found is not None

    def try_to_set_base_model(self) -> None:
        """Note the model that the encoder was loaded from, as far as its place says so."""
        named = getattr(getattr(self.model, "config", None), "_name_or_path", None)
        first = next(iter(self.model.children()), None) if self.model is not None else None
        for place in (named, getattr(first, "base_model", None)):
            if self.base_model is None and isinstance(place, (str, Path)):
                self.base_model, self.base_model_revision = fetch.origin(place) or (None, None)

    # Data ---------------------------------------------------------------------------------------

    def validate_datasets(
        self, dataset_list: list[dict[str, Any]], infer_languages: bool | None = None
    ) -> list[dict[str, Any]]:
        """Descriptions of datasets with what the Hub says of them, which is asked.

        Args:
            dataset_list: Dicts with "name" and "id"; an id that the Hub does not have is removed.
            infer_languages: Whether their languages are those of the model; None: if it has none.
        """
        reads = not self.language if infer_languages is None else infer_languages
        for data in (checked := named(dataset_list)):
            if "id" not in data or self.local_files_only:
                continue
            found = fetch.published(data["id"], "dataset")
            if found is None:
                logger.warning("the Hub has no dataset %r; its id is left out", data.pop("id"))
                continue
            self.datasets += [found.id] if found.id not in self.datasets else []
            told = listed(getattr(found.card_data, "language", None)) if reads else []
            known = listed(self.language)
            self.language = [*known, *(one for one in told if one not in known)]
        return checked

    def infer_datasets(self, dataset: Any, dataset_name: str | None = None) -> list[dict[str, Any]]:
        """Name, split, size, id and commit of a dataset, as far as it knows; of a dict, of each."""
        if isinstance(dataset, Mapping):
            return [one for name in dataset for one in self.infer_datasets(dataset[name], name)]
        (found,) = facts.facts_of_data(dataset)
        info, split = getattr(dataset, "info", None), getattr(dataset, "split", None)
        told = {"name": dataset_name or getattr(info, "dataset_name", None), "split": str(split)}
        known = (getattr(info, "splits", None) or {}).get(split)
        told |= {"size": known.num_examples} if known is not None else {}
        told |= {"id": found.hub_id} if found.hub_id else {}
        return [told | ({"revision": found.revision} if found.revision else {})]

    def compute_dataset_metrics(
        self,
        dataset: Any,
        dataset_info: dict[str, Any],
        loss: Any,
        router_mapping: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Add to a description of a dataset its size, columns, their statistics, rows and loss.

        Args:
            dataset: The dataset; None gives an empty description.
            dataset_info: What is known of it; changed.
            loss: What is trained on it.
            router_mapping: Column -> route of a `Router`, for the number of tokens.
        """
        if not dataset:
            return {}
        (found,) = facts.facts_of_data(dataset, None, self._counter(router_mapping))
        said = described.dataset(found, loss)
        dataset_info.update({name: said[name] for name in said if name not in ("name", "id")})
        return dataset_info

    def extract_dataset_metadata(
        self,
        dataset: Any,
        dataset_metadata: list[dict[str, Any]],
        loss: Any,
        dataset_type: str,
        router_mapping: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Descriptions of the datasets of a run, which complete those that the author gave.

        Args:
            dataset: A dataset, or a dict of them.
            dataset_metadata: What the author says of each; not read if there are more or fewer.
            loss: A loss, or a dict of them by the name of the dataset.
            dataset_type: "train" or "eval".
            router_mapping: As in the training arguments.
        """
        parts = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset} if dataset else {}
        if dataset_metadata and len(dataset_metadata) != len(parts):
            logger.warning(
                "%s_datasets of the card describes %d datasets, and there are %d; it is not used",
                dataset_type,
                len(dataset_metadata),
                len(parts),
            )
            dataset_metadata = []
        told = dataset_metadata or (self.infer_datasets(dataset) if parts else [])
        found = []
        for (name, data), info in zip(parts.items(), told, strict=True):
            own = loss[name] if isinstance(loss, Mapping) else loss
            routes: Any = router_mapping or {}
            routes = routes.get(name, {}) if isinstance(routes.get(name), Mapping) else routes
            found.append(self.compute_dataset_metrics(data, info, own, routes))
        if dataset_type == "train":
            if size := sum(info.get("size") or 0 for info in found):
                self.add_tags(f"dataset_size:{size}")
            names = {name for info in found for name in info.get("stats", ())}
            self.ir_model = (
                True if self.ir_model is None and names & _SEARCH_COLUMNS else self.ir_model
            )
        return named(found)

    def _counter(self, routes: Mapping[str, str] | None) -> Any:
        """What counts the tokens of texts; None where that cannot be done."""
        model = self.model
        try:
            model.read(["a text"])["lengths"]
        except Exception:  # a route that must be named; code of the user's; no model
            return None
        return lambda texts: list(model.read(texts)["lengths"])

    def set_widget_examples(self, dataset: Any) -> None:
        """Make examples for the model's page, and for the card's code, of the first rows."""
        if _is_stream(dataset):  # whose rows would be lost for the training
            return
        self.widget = front.widgets(facts.facts_of_data(dataset))
        if self.widget:
            last = self.widget[-1]
            self.usage_examples = [last["source_sentence"], *last["sentences"]][:4]

    def set_label_examples(self, dataset: Any) -> None:
        """Show rows of each label, from columns "text" and "label"."""
        found: dict[Any, list[str]] = {}
        for row in dataset:
            texts = found.setdefault(row["label"], [])
            if len(texts) < _LABEL_EXAMPLES:
                texts.append(f"<li>{row['text']!r}</li>")
        names = getattr(self.model, "labels", None)
        self.label_example_list = [
            {
                "Label": names[label] if names and isinstance(label, int) else label,
                "Examples": f"<ul>{''.join(texts)}</ul>",
            }
            for label, texts in found.items()
        ]

    # The card -----------------------------------------------------------------------------------

    def run_usage_snippet(self) -> None:
        """Choose the texts of the card's code, where none are set, and note what it prints."""
        example = self._example()
        self.usage_examples = list(example.texts)
        if self.generate_widget_examples and self.model is not None:
            *_, last = example.printed(self.model) or [""]
            self.similarities = "\n".join(f"# {line}" for line in last.splitlines()) or None

    def _example(self) -> kinds.Example:
        return kinds.example_of(self.model, self.usage_examples, self.is_search)

    def generate_usage_snippet(self) -> str:
        """The card's code, as a block of Markdown."""
        name, place = kinds.kind_of(self.model).name, self.model_id or "path/to/this/model"
        example = self._example()
        printed = []
        if self.model is not None and self.generate_widget_examples and not self.is_running:
            printed = example.printed(self.model)
        start = f'from sentune import {name}\n\nmodel = {name}("{place}")'
        return f"```python\n{start}\n{example.shown(printed)}\n```"

    def save_usage_example_assets(self) -> None:
        """Check that the examples are texts, which the card holds itself: there are no files."""
        for example in self.usage_examples or ():
            parts = example if isinstance(example, (list, tuple)) else [example]
            if not all(isinstance(part, str) for part in parts):
                raise SettingError(
                    f"usage_examples of a card must be texts, got a {type(example).__name__}: "
                    "models of this release read text only"
                )

    def format_eval_metrics(self) -> dict[str, Any]:
        """`eval_metrics`, tables of results; names of `metrics`; and the `model-index`."""
        found = self.eval_results_dict
        names = [name for one in found.items() for name in described.without_name(*one)[1]]
        told = front.facts_of(self, self.model_name or self.get_default_model_name())
        return {
            "eval_metrics": described.evaluations(found),
            "metrics": list(dict.fromkeys(names)),
            "model-index": told.get("model-index", []),
        }

    def format_training_logs(self) -> dict[str, Any]:
        """`eval_lines`, the log as a table, and whether a row of it is bold."""
        lines = described.log_table(self.training_logs, self.best_model_step)
        return {"eval_lines": lines, "explain_bold_in_eval": "**" in lines}

    def get_model_specific_metadata(self) -> dict[str, Any]:
        """Facts of the model: longest text, modules, what it reads, width, similarity."""
        model = self.model
        if model is None:
            return {}
        first = next(iter(model.children()), None)
        found = {
            "model_max_length": model.max_seq_length,
            "model_string": str(model),
            "supported_modalities": ["Text"],
            "query_length": getattr(first, "query_length", None),
            "document_length": getattr(first, "document_length", None),
        }
        if hasattr(model, "get_embedding_dimension"):
            name = str(model.similarity_fn_name)
            found["output_dimensionality"] = model.get_embedding_dimension()
            found["similarity_fn_name"] = _SIMILARITIES.get(name, name.replace("_", " ").title())
        return found

    def get_default_model_name(self) -> str:
        """What a model without a name is called."""
        name = type(self.model).__name__
        return f"{name} based on {self.base_model}" if self.base_model else name

    def to_dict(self) -> dict[str, Any]:
        """All that a template of a card may ask for."""
        self.try_to_set_base_model()
        self.run_usage_snippet()
        self.save_usage_example_assets()
        name = self.model_name or self.get_default_model_name()
        names = [one.name for one in fields(self) if one.name not in _INNER]
        told = {name: getattr(self, name) for name in (*names, *_VIEWS) if not name.startswith("_")}
        told |= front.facts(self, kinds.kind_of(self.model), name, self.base_model)
        told |= {"model_name": name, "version": self.version}
        told["usage_snippet"] = self.generate_usage_snippet()
        told |= self.format_eval_metrics() if self.eval_results_dict else {}
        told |= self.format_training_logs() if self.training_logs else {}
        told["hide_eval_lines"] = len(self.training_logs) > 100
        told |= self.get_codecarbon_data() | self.get_training_duration_data()
        self.first_save = False
        return told | self.get_model_specific_metadata()

    def to_yaml(self, line_break: str | None = None) -> str:  # type: ignore[override]
        """The front of the card, as YAML."""
        return front.as_yaml(self.to_dict(), line_break)


@dataclass
class SentenceTransformerModelCardData(BaseModelCardData):
    """What is known for the card of a `SentenceTransformer`, as `BaseModelCardData`."""

    task_name: str | None = kinds.SERVES
    tags: list[str] = field(default_factory=lambda: list(kinds.SENTENCE_TAGS))


@dataclass
class CrossEncoderModelCardData(BaseModelCardData):
    """What is known for the card of a `CrossEncoder`, as `BaseModelCardData`."""

    task_name: str | None = None
    tags: list[str] = field(default_factory=lambda: list(kinds.SCORE_TAGS))
    pipeline_tag: str = field(default="text-ranking", init=False)

    @property
    def is_search(self) -> bool | None:
        """None: the number of labels decides whether the card's code ranks."""
        return None


def get_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide what a run gives."""
    found = facts.versions()
    own = f"{RELEASE} (sentune {found.pop('sentune')})"
    return {"python": found.pop("Python"), "sentence_transformers": own, **found}


def get_losses(loss: Any) -> list[Any]:
    """A loss or those of a dict, and the losses and regularizers inside them, each once."""
    found = list(loss.values()) if isinstance(loss, Mapping) else [loss]
    for one in found:  # which grows
        parts = (getattr(one, name, None) for name in _INNER_LOSSES)
        found += [part for part in parts if part is not None and part not in found]
    return found


def _is_stream(data: Any) -> bool:
    parts = list(data.values()) if isinstance(data, Mapping) else [data]
    return any(not hasattr(part, "__len__") for part in parts)


def _is_search(data: Iterable[DatasetFacts]) -> bool:
    return any(column.name in _SEARCH_COLUMNS for one in data for column in one.columns)


# The card's data of a kind of model, by the name of its class.
CARD_DATA = {
    "SentenceTransformer": SentenceTransformerModelCardData,
    "CrossEncoder": CrossEncoderModelCardData,
}
