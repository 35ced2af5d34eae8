"""What every evaluator shares: its call, the names of its metrics, its csv file, its log line."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentune.disk import files
from sentune.errors import InputError
from sentune.types import Encoder
from sentune.vectors.similarity import SimilarityFunction

logger = logging.getLogger(__name__)


class SentenceEvaluator:
    """Base of the evaluators: called with a model, gives a dict of metrics, or one number.

    Attributes:
        greater_is_better: Whether the best model has the highest metric.
        primary_metric: The key to choose the best model by. Known at the latest after a call.
        name: Of the data; part of each key and of the csv file's name.
        csv_file: Name of the file that a row is added to at every call with an output path.
        write_csv: Whether there is such a file.
        batch_size: Of encoding; None for as many texts as the machine is fast with.
        show_progress_bar: Of encoding; None leaves it to the model.
        truncate_dim: Width to cut the embeddings to; None leaves it to the model.
    """

    greater_is_better: bool = True
    primary_metric: str | None = None
    name: str = ""
    csv_file: str = ""
    write_csv: bool = True
    batch_size: int | None = None
    show_progress_bar: bool | None = False
    truncate_dim: int | None = None

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float] | float:
        """The metrics of the model; the evaluators of your own override this.

        Args:
            model: The model to evaluate.
            output_path: Folder for the csv file; None writes none.
            epoch: When it is, for the csv file and the log; -1 outside of training.
            steps: The step in the epoch; -1 at its end.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it evaluates: __call__")

    def prefix_name_to_metrics(self, metrics: dict[str, Any], name: str) -> dict[str, Any]:
        """The metrics as floats, under keys that start with the name; so does `primary_metric`.

        Args:
            metrics: Key -> value.
            name: Put before each key, with an underscore; nothing if empty.
        """
        prefix = f"{name}_" if name else ""
        if prefix and self.primary_metric and not self.primary_metric.startswith(prefix):
            self.primary_metric = prefix + self.primary_metric
        return {prefix + key: _to_float(value) for key, value in metrics.items()}

    def store_metrics_in_model_card_data(
        self, model: Any, metrics: dict[str, Any], epoch: int = 0, step: int = 0
    ) -> None:
        """Tell the model's card, where it has one.

        Args:
            model: The model that was evaluated.
            metrics: As the call gives them back.
            epoch: When it was.
            step: The step in the epoch.
        """
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

    def _encode(self, encode: Callable[..., Any], texts: Sequence[Any], **options: Any) -> Any:
        """The embeddings of the texts, `(b, d)`, each text encoded once.

        Args:
            encode: `encode`, `encode_query` or `encode_document` of a model.
            texts: The inputs; those that cannot be hashed, such as images, are all encoded.
            **options: Of `encode`; they must make it give one matrix, not a list.
        """
        options |= {
            "batch_size": self.batch_size,
            "show_progress_bar": self.show_progress_bar,
            "truncate_dim": self.truncate_dim,
        }
        try:
            place: dict[Any, int] = {}
            rows = [place.setdefault(text, len(place)) for text in texts]
        except TypeError:
            return encode(texts, **options)
        embeddings = encode(list(place), **options)
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
        if output_path is not None and self.write_csv:
            add_row(Path(output_path) / self.csv_file, {"epoch": epoch, "steps": steps, **row})
        self.store_metrics_in_model_card_data(model, named, epoch, steps)
        return named


BaseEvaluator = SentenceEvaluator


def moment(epoch: int, steps: int) -> str:
    """When an evaluation takes place, in words; empty outside of training.

    Args:
        epoch: As in the call of an evaluator.
        steps: As in the call of an evaluator.
    """
    if epoch == -1:
        return ""
    return f" after epoch {epoch}" if steps == -1 else f" in epoch {epoch} after {steps} steps"


def add_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a csv file, atomically; a new one gets the names of the columns first.

    Args:
        path: The file; missing folders are made.
        row: Column -> value, in the order of the columns.
    """
    files.append(path, _csv_line(row.values()), start=_csv_line(row))


def _csv_line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def check_columns(**columns: Sequence[Any]) -> None:
    """Refuse columns of different lengths, and empty ones.

    Args:
        **columns: Name of the argument -> its values.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise InputError(
            f"{', '.join(lengths)} must have as many entries each, and at least one; "
            f"they have {', '.join(map(str, lengths.values()))}"
        )


def function_names(names: Sequence[Any] | None, main: Any = None) -> list[str]:
    """The names of the similarities to evaluate with; empty: the model's own.

    Args:
        names: As the caller gave them.
        main: The one that counts, taken where no names are given.
    """
    given = names or ([main] if main else [])
    return [SimilarityFunction(name).value for name in given]


def names_for(model: Encoder, names: list[str]) -> list[str]:
    """The names, or that of the model's own similarity where there are none.

    Args:
        model: Any model.
        names: As `function_names` gives them.
    """
    return names or function_names([model.similarity_fn_name])


def _to_float(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
