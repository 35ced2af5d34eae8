"""The loss of a candidate, with what its plain settings stand for."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from sentune.checks import check_known
from sentune.data.columns import Cells, class_names, label_column
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SettingError
from sentune.losses import MatryoshkaLoss
from sentune.losses.fitting import public_losses
from sentune.workbench.racing.candidates import Candidate
from sentune.workbench.settings import Settings


def loss_of(candidate: Candidate, model: Any, rows: Any, settings: Settings) -> Any:
    """The loss of a candidate; within a `MatryoshkaLoss` if widths are asked for.

    Functions are given by name ("cosine", "dot_score"), and a guide by its folder or Hub id. What
    is not given and must be, is that of the model, of the rows, or for a guide the start.

    Args:
        candidate: Names it, with its arguments as plain values.
        model: What is trained.
        rows: What it is trained on, a `datasets.Dataset`.
        settings: Of the run.

    Raises:
        SettingError: If the loss does not take such arguments.
    """
    kind = public_losses()[candidate.loss]
    arguments = inspect.signature(kind).parameters
    options = {**_of_the_rest(arguments, model, rows, settings), **candidate.loss_settings}
    for name, value in options.items():
        check_known(f"argument of {candidate.loss}", name, [*arguments][1:])
        options[name] = _resolved(name, value, arguments[name].default, settings)
    try:
        loss = kind(model, **options)
    except TypeError as error:
        raise SettingError(f"{candidate.loss} with {options}: {error}") from error
    if settings.matryoshka:
        return MatryoshkaLoss(model, loss, settings.matryoshka)
    return loss


def _of_the_rest(
    arguments: Mapping[str, Any], model: Any, rows: Any, settings: Settings
) -> dict[str, Any]:
    """What a loss needs and nobody has to say."""
    found = {}
    if "embedding_dimension" in arguments:
        found["embedding_dimension"] = model.get_embedding_dimension()
    if "num_labels" in arguments:
        found["num_labels"] = _classes(rows)
    if "guide" in arguments:
        found["guide"] = settings.model
    return found


def _classes(rows: Any) -> int:
    """How many classes the rows may have."""
    label = str(label_column(rows.column_names))
    return max(len(class_names(rows) or ()), 1 + int(max(Cells(rows, label))))


def _resolved(name: str, value: Any, usual: Any, settings: Settings) -> Any:
    """What a plain value stands for: a function of the kind that is usual there, or a model."""
    if name == "guide" and isinstance(value, str):
        return SentenceTransformer(value, device=settings.device, dtype=settings.dtype)
    if isinstance(value, str) and inspect.isfunction(usual):
        known = _functions_like(usual)
        check_known(name, value, known)
        return known[value]
    return value


def _functions_like(usual: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Those that can stand where a function does, by name and by what it begins with."""
    module = sys.modules[usual.__module__]
    family, _, _ = usual.__qualname__.rpartition(".")
    if family:
        kind = getattr(module, family)
        names = {name: name for name in vars(kind) if not name.startswith("_")}
        names |= {name.lower().partition("_")[0]: name for name in names}
        return {name: getattr(kind, own) for name, own in names.items()}
    takes = inspect.signature(usual).parameters.keys()
    is_by_row = usual.__name__.startswith("pairwise_")
    return {
        name: one
        for name, one in vars(module).items()
        if inspect.isfunction(one)
        and name.endswith(("_sim", "_score"))
        and name.startswith("pairwise_") == is_by_row
        and inspect.signature(one).parameters.keys() == takes
    }
