"""How far are the embeddings of a student from those of its teacher?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sentune.errors import InputError, SettingError
from sentune.evaluation.base import SentenceEvaluator, checked_columns
from sentune.tables import records_of
from sentune.types import Encoder

PERCENT = 100


class MSEEvaluator(SentenceEvaluator):
    """Minus 100 times the mean squared difference of student and teacher: `negative_mse`.

    The teacher encodes its sentences once, when the evaluator is made.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        source_sentences: What the teacher encodes.
        target_sentences: What the student encodes, such as their translations.
        teacher_model: The model to come close to.
        write_csv: Whether to write `mse_evaluation_{name}_results.csv`.
    """

    def __init__(
        self,
        source_sentences: Sequence[str],
        target_sentences: Sequence[str],
        teacher_model: Encoder | None = None,
        show_progress_bar: bool | None = False,
        batch_size: int | None = None,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        sources, self.target_sentences = checked_columns(
            source_sentences=source_sentences, target_sentences=target_sentences
        )
        if teacher_model is None:
            raise SettingError("teacher_model is missing: the model whose embeddings are the goal")
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self.csv_file = f"mse_evaluation_{name}_results.csv"
        self.primary_metric = "negative_mse"
        self._name_csv_columns("MSE")
        self.source_embeddings = self._embed(teacher_model, sources)

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The difference; arguments as in `SentenceEvaluator`."""
        found = self._embed(model, self.target_sentences)
        mse = _mse(self.source_embeddings, found)
        return self._report(model, {"negative_mse": -mse}, {"MSE": mse}, output_path, epoch, steps)

    @property
    def description(self) -> str:
        """As the base's."""
        return "Knowledge Distillation"


class MSEEvaluatorFromDataFrame(SentenceEvaluator):
    """As `MSEEvaluator`, but for several pairs of languages at once; the mean over the pairs.

    Args:
        name, batch_size, truncate_dim: As in `SentenceEvaluator`.
        dataframe: One dict a row, language -> sentence, or a table with a column per language; all
            sentences of a row mean the same.
        teacher_model: The model to come close to.
        combinations: Pairs of languages: that of the teacher, that of the student. Rows in which
            one of both is blank are left out.
        write_csv: Whether to write `mse_evaluation_{name}_results.csv`, a column per pair.
    """

    description = MSEEvaluator.description

    def __init__(
        self,
        dataframe: Sequence[Mapping[str, str]],
        teacher_model: Encoder,
        combinations: Sequence[tuple[str, str]],
        batch_size: int | None = None,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        self.combinations = combinations
        self._keep(name, write_csv, batch_size, truncate_dim=truncate_dim)
        self._name_csv_file("mse_evaluation", name)
        self._name_csv_columns(*("-".join(pair) for pair in combinations))
        self.primary_metric = "negative_mse"
        checked_columns(combinations=combinations)
        rows = records_of(dataframe, "dataframe")
        self.data = {tuple(pair): _parallel(rows, *pair) for pair in combinations}
        # One call for all pairs: they often share the teacher's language.
        sources = [text for texts, _ in self.data.values() for text in texts]
        embeddings = self._embed(teacher_model, sources)
        ends = np.cumsum([len(texts) for texts, _ in self.data.values()])[:-1]
        self.source_embeddings = dict(zip(self.data, np.split(embeddings, ends), strict=True))

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The difference; arguments as in `SentenceEvaluator`."""
        row = {}
        for pair, (_, targets) in self.data.items():
            found = self._embed(model, targets)
            row["-".join(pair)] = _mse(self.source_embeddings[pair], found)
        metrics = {"negative_mse": -float(np.mean(list(row.values())))}
        return self._report(model, metrics, row, output_path, epoch, steps)

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        return {}


def _parallel(
    rows: Sequence[Mapping[str, str]], source: str, target: str
) -> tuple[list[str], list[str]]:
    """The sentences of both languages, of the rows that have both."""
    kept = [row for row in rows if row[source].strip() and row[target].strip()]
    if not kept:
        raise InputError(f"none of {len(rows)} rows has both {source!r} and {target!r}")
    return [row[source] for row in kept], [row[target] for row in kept]


def _mse(goal: np.ndarray, found: np.ndarray) -> float:
    if goal.shape != found.shape:
        raise InputError(
            f"the teacher gives embeddings {goal.shape} and the student {found.shape}; "
            "cut both to one width with truncate_dim"
        )
    return PERCENT * float(np.square(goal - found, dtype=np.float64).mean())
