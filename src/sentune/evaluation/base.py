"""What every evaluator shares: its call, the names of its metrics, its csv file, its log line."""

from __future__ import annotations

import csv
import inspect
import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sentune.disk import files
from sentune.errors import InputError
from sentune.tables import rows_of
from sentune.types import Encoder
from sentune.vectors.similarity import of_vectors, to_tensor

logger = logging.getLogger(__name__)


class SentenceEvaluator:
    """Base of the evaluators: called with a model, gives a dict of metrics, or one number.

    Attributes:
        greater_is_better: Whether the best model has the highest metric.
        primary_metric: The key to choose the best model by. Known at the latest after a call.
        name: Of the data; part of each key and of the csv file's name.
        csv_file: Name of the file that a row is added to at every call with an output path.
        csv_headers: Names of its columns; those for the model's own similarity after a call.
        write_csv: Whether there is such a file.
        batch_size: Of encoding; None to choose it by tokens, for speed.
        show_progress_bar: Of encoding; None leaves it to the model.
        truncate_dim: Dimension to truncate the embeddings to; None leaves it to the model.
        works_on_tensors: Whether embeddings are read as tensors and not as arrays.
    """

    greater_is_better: bool = True
    primary_metric: str | None = None
    name: str = ""
    csv_file: str = ""
    csv_headers: Sequence[str] = ("epoch", "steps")
    write_csv: bool = True
    works_on_tensors: ClassVar[bool] = False
    batch_size: int | None = None
    show_progress_bar: bool | None = False
    truncate_dim: int | None = None

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float] | float:
        """The metrics of the model; custom evaluators override this.

        Args:
            model: The model to evaluate.
            output_path: Folder for the csv file; None writes none.
            epoch: For the csv file and the log; -1 outside of training.
            steps: The step in the epoch; -1 at its end.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it evaluates: __call__")

    def prefix_name_to_metrics(self, metrics: dict[str, Any], name: str) -> dict[str, Any]:
        """The metrics as floats, under keys that start with the name; so does `primary_metric`."""
        prefix = f"{name}_" if name else ""
        if prefix and self.primary_metric and not self.primary_metric.startswith(prefix):
            self.primary_metric = prefix + self.primary_metric
        return {prefix + key: _to_float(value) for key, value in metrics.items()}

    def store_metrics_in_model_card_data(
        self, model: Any, metrics: dict[str, Any], epoch: int = 0, step: int = 0
    ) -> None:
        """Store the metrics in the model's card, where it has one; arguments as in the call."""
        store = getattr(getattr(model, "model_card_data", None), "set_evaluation_metrics", None)
        if store is not None:
            store(self, metrics, epoch, step)

    @property
    def description(self) -> str:
        """The kind of evaluation in words, for the model card."""
        words = type(self).__name__.partition("Evaluator")[0]
        return re.sub(r"([a-z])([A-Z])", r"\1 \2", words)

    def get_config_dict(self) -> dict[str, Any]:
        """The settings that the model card shows."""
        return {} if self.truncate_dim is None else {"truncate_dim": self.truncate_dim}

    def _keep(
        self,
        name: str,
        write_csv: bool,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        truncate_dim: int | None = None,
    ) -> None:
        """Keep the settings that most evaluators take."""
        self.name = name
        self.write_csv = write_csv
        self.batch_size = batch_size
        self.show_progress_bar = show_progress_bar
        self.truncate_dim = truncate_dim

    def _name_csv_columns(self, *names: str) -> None:
        self.csv_headers = ["epoch", "steps", *names]

    def _name_csv_file(self, *parts: str | None) -> None:
        """Name the csv file by those parts that are not empty."""
        self.csv_file = "_".join(part for part in (*parts, "results.csv") if part)

    def embed_inputs(
        self, model: Any, sentences: Any, encode_fn_name: str | None = None, **kwargs: Any
    ) -> Any:
        """The embeddings of inputs, `(b, d)`; everything that is evaluated comes from here.

        Args:
            model: The model to evaluate.
            sentences: Its inputs.
            encode_fn_name: "query" for `model.encode_query`, "document" for `encode_document`.
            **kwargs: Further arguments of it.
        """
        encode = getattr(model, f"encode_{encode_fn_name}" if encode_fn_name else "encode")
        options = {
            "batch_size": self.batch_size,
            "show_progress_bar": self.show_progress_bar,
            "truncate_dim": self.truncate_dim,
            "convert_to_tensor" if self.works_on_tensors else "convert_to_numpy": True,
        }
        return encode(sentences, **{**options, **kwargs})

    def _embed(self, model: Any, texts: Sequence[Any], **options: Any) -> Any:
        """As `embed_inputs`, each text once; inputs that cannot be hashed, as images, all."""
        try:
            place: dict[Any, int] = {}
            rows = [place.setdefault(text, len(place)) for text in texts]
        except TypeError:
            return _matrix(self.embed_inputs(model, texts, **options))
        embeddings = _matrix(self.embed_inputs(model, list(place), **options))
        return embeddings if len(place) == len(rows) else embeddings[np.asarray(rows)]

    def _report(
        self,
        model: Any,
        metrics: dict[str, Any],
        row: Mapping[str, Any],
        output_path: str | None,
        epoch: int,
        steps: int,
    ) -> dict[str, float]:
        """Name, log, write and store what was measured; `row` is what the csv file shows of it."""
        named = self.prefix_name_to_metrics(metrics, self.name)
        where = moment(epoch, steps)
        figures = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
        logger.info("%s%s %s: %s", self.description, where, self.name, figures)
        cells = {"epoch": epoch, "steps": steps, **row}
        self.csv_headers = list(cells)
        if output_path is not None and self.write_csv:
            add_row(Path(output_path) / self.csv_file, cells)
        self.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named


BaseEvaluator = SentenceEvaluator


def moment(epoch: int, steps: int) -> str:
    """When an evaluation takes place, in words; empty outside of training."""
    if epoch == -1:
        return ""
    return f" after epoch {epoch}" if steps == -1 else f" in epoch {epoch} after {steps} steps"


def add_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a csv file, atomically; a new one gets the names of the columns first."""
    files.append(path, _csv_line(row.values()), start=_csv_line(row))


def _csv_line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def checked_columns(**columns: Any) -> list[list[Any]]:
    """The columns as lists, after a check that they are equally long and not empty."""
    lists = {name: rows_of(column, name) for name, column in columns.items()}
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise InputError(
            f"{', '.join(lengths)} must have as many entries each, and at least one; "
            f"they have {', '.join(map(str, lengths.values()))}"
        )
    return list(lists.values())


def function_names(names: Sequence[Any] | None, main: Any = None) -> list[str]:
    """The names of the similarities given, else the main one; empty: the model's own."""
    given = names or ([main] if main else [])
    return [of_vectors(name) for name in given]


def names_for(model: Encoder, names: list[str]) -> list[str]:
    """The names, or that of the model's own similarity where there are none."""
    return names or function_names([model.similarity_fn_name])


def _matrix(embeddings: Any) -> Any:
    """Embeddings as one matrix, also where a subclass gives a list of them."""
    if not isinstance(embeddings, (list, tuple)):
        return embeddings
    return np.stack(embeddings) if isinstance(embeddings[0], np.ndarray) else to_tensor(embeddings)


def _to_float(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def called(evaluator: Callable[..., Any], model: Any, **options: Any) -> Any:
    """What an evaluator gives; one whose arguments have other names gets them by position."""
    try:
        inspect.signature(evaluator).bind(model, **options)
    except TypeError:
        return evaluator(model, *options.values())
    return evaluator(model, **options)
