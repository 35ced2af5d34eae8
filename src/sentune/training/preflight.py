"""What would go wrong in a run, found before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from sentune.engine.deferred import made
from sentune.errors import SettingError, TrainingError, warn
from sentune.files import save as files_save
from sentune.losses.fitting import check
from sentune.machine.randomness import seeded
from sentune.models.router import Router
from sentune.training.arguments import BatchSamplers, SentenceTransformerTrainingArguments
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.training.dataset_rows import (
    DATASET_NAME,
    NumberedRows,
    column_names,
    place_of,
    rows_of,
    rows_of_examples,
)
from sentune.training.fit_loaders import LoaderRows
from sentune.training.routes import check_columns, check_mapping
from sentune.training.training_step import TrainingStep

_PORTION = 1000  # rows that are read at once
_OTHER_SPLITS = {"test", "dev", "validation", "valid", "eval"}


def check_data(
    dataset: Any,
    losses: nn.Module | Mapping[str, nn.Module],
    what: str,
    args: SentenceTransformerTrainingArguments | None = None,
) -> None:
    """Raise if a loss cannot learn from its dataset; warn of what is odd about it.

    `what` it is, for messages. Without `args` it is not trained on.
    """
    several = dataset if isinstance(dataset, Mapping) else {"": dataset}
    if args is not None and "train" in several and not _OTHER_SPLITS.isdisjoint(several):
        warn(
            f"train_dataset is a dict of {', '.join(map(repr, several))}, and all of them are "
            "trained on; if these are splits, pass dataset['train'] and the other as eval_dataset"
        )
    for name, one in several.items():
        loss = losses[name] if isinstance(losses, Mapping) else losses
        batches: dict[str, Any] = {"is_trained_on": args is not None}
        place = _place(what, name, one)
        if isinstance(one, LoaderRows):
            batches |= _batches_of(one.loader)
            one = _examples_of(one)
        elif args is not None:
            sampler, is_random = args.batch_sampler, args.train_sampling_strategy == "random"
            is_random &= isinstance(sampler, BatchSamplers)
            is_random &= sampler != BatchSamplers.GROUP_BY_LABEL
            batches |= {"batch_size": args.train_batch_size, "is_random": is_random}
        # Other iterables may give their rows only once.
        if hasattr(one, "column_names") or isinstance(one, (list, tuple)):
            check(one, loss, place=place, **batches)


def check_routes(model: nn.Module, collator: Any, datasets: Mapping[str, Any]) -> None:
    """Raise if a column of a dataset takes no route, or one that is not there.

    Args:
        model: The model in training.
        collator: What makes the batches; one that does not map columns to routes is not judged, nor
            one with a call of its own, which may change the rows first.
        datasets: What each is, for messages -> a dataset, a dict of them, or None.
    """
    kind = SentenceTransformerDataCollator
    if not isinstance(collator, kind) or type(collator).__call__ is not kind.__call__:
        return
    mapping, others = collator.router_mapping, {*collator.valid_label_columns, DATASET_NAME}
    check_mapping(model, mapping)
    if not any(isinstance(module, Router) for module in model.modules()):
        return
    for what, dataset in datasets.items():
        several = dataset if isinstance(dataset, Mapping) else {None: dataset}
        for name, one in several.items():
            cells = {} if one is None else _first_cells(one)
            texts = {column: cells[column] for column in cells if column not in others}
            is_fit = isinstance(one, LoaderRows)
            check_columns(model, mapping, texts, _place(what, name, one), name, is_fit=is_fit)


def _place(what: str, name: str | None, dataset: Any) -> str:
    return place_of("train_objectives" if isinstance(dataset, LoaderRows) else what, name)


def check_steps(steps: int, args: SentenceTransformerTrainingArguments) -> None:
    """Raise before a run of no step."""
    if steps <= 0:
        raise SettingError(
            f"num_train_epochs={args.num_train_epochs} and max_steps={args.max_steps} make a run "
            "of 0 steps; set num_train_epochs above 0, or max_steps to at least 1"
        )


def check_ran(steps: int) -> None:
    """Raise after a run of no step, of a dataset whose length was not known."""
    if not steps:
        raise TrainingError(
            "nothing was trained: the run ended before its first step. The dataset gave no batch: "
            "it has no rows, or fewer than one batch and dataloader_drop_last=True"
        )


def check_trained(step: TrainingStep, optimizer: Any) -> None:
    """Raise if a step has nothing to train, or a given optimizer nothing of the step."""
    losses = step.losses if isinstance(step.losses, Mapping) else {"": step.losses}
    for loss in losses.values():
        parameters = [*step.model.parameters(), *loss.parameters()]
        if not any(parameter.requires_grad for parameter in parameters):
            how = "are frozen (requires_grad is False)" if parameters else "are none"
            raise TrainingError(
                f"there is nothing to train: all parameters of the model and of "
                f"{type(loss).__name__} {how}. Unfreeze some with "
                "model.requires_grad_(True) or model[0].requires_grad_(True), or add new ones, "
                "as a models.Dense or with model.add_adapter(...)"
            )
    groups = getattr(optimizer, "param_groups", None)
    if groups is None:
        return
    held = {id(parameter) for group in groups for parameter in group["params"]}
    if not any(id(one) in held for one in step.parameters() if one.requires_grad):
        raise SettingError(
            "the optimizer that was given has none of the parameters that are to be trained; make "
            "it with those of this model: optimizer_class(model.parameters(), ...)"
        )


def check_gradient(loss: Tensor) -> None:
    """Raise if a loss in training does not depend on anything that is trained."""
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise TrainingError(
            "the loss does not depend on any parameter that is trained: what it is computed from "
            "is frozen, or it was computed inside torch.no_grad() or with .detach() or .item()"
        )


def _first_cells(dataset: Any) -> dict[str, list[Any]]:
    """Column -> its first cell; none for a loader that only gives its rows in their turn."""
    if isinstance(dataset, LoaderRows) and not dataset.is_indexed:
        return {}
    if hasattr(dataset, "__len__"):
        with seeded(0):  # datasets may draw numbers when a row is read
            row = rows_of(dataset, [0])[0] if len(dataset) else {}
        return {column: [cell] for column, cell in row.items()}
    features = getattr(dataset, "features", None) or {}
    return {column: [features.get(column)] for column in column_names(dataset)}


def _batches_of(loader: Any) -> dict[str, Any]:
    is_random = isinstance(getattr(loader, "sampler", None), RandomSampler)
    return {"batch_size": getattr(loader, "batch_size", None), "is_random": is_random}


def _examples_of(rows: LoaderRows) -> Any:
    """The examples behind a loader; without labels where they have only those that all have."""
    if isinstance(rows.examples, (list, tuple)) and not rows.with_label:
        return rows_of_examples(rows.examples, range(len(rows.examples)), with_label=False)
    return rows.examples


def check_vocabulary(dataset: Any, model: Any, collate: Callable[[list[Any]], Any]) -> None:
    """Raise if texts of a dataset have tokens that the model has no embedding for.

    The rows are read only if its tokenizer knows such tokens at all.
    """
    if not any(getattr(module, "has_tokens_without_rows", False) for module in made(model)):
        return
    for name, one in (dataset if isinstance(dataset, Mapping) else {None: dataset}).items():
        if not hasattr(one, "__len__") or not getattr(one, "is_indexed", True):
            continue  # a stream is read once, by the training
        rows = NumberedRows({name: one}, seed=0)
        for start in range(0, len(rows), _PORTION):
            collate(rows.__getitems__(range(start, min(start + _PORTION, len(rows)))))


def warn_of_saves(model: Any) -> None:
    """Warn before the first step of a run whose model could not be written."""
    try:
        files_save.check(dict(model.named_children()))
    except SettingError as error:
        warn(f"saving the model will fail in this run: {error}")


@contextmanager
def kept_configuration(model: Any) -> Iterator[None]:
    """Inside the block, transformers sets `use_cache` on the encoder; after it, it is as before."""
    config: Any = getattr(model, "config", None)
    before = getattr(config, "use_cache", None)
    yield
    if before is not None:
        config.use_cache = before


def check_arguments(
    args: Any,
    kind: type[SentenceTransformerTrainingArguments],
    model: Any,
    model_init: Any,
    loss: Any,
    datasets: Mapping[str, Any],
) -> None:
    """Raise if the arguments of a trainer contradict each other."""
    if not isinstance(args, kind):
        raise SettingError(f"args must be {kind.__name__}, got {type(args).__name__}")
    if (model is None) == (model_init is None):
        raise SettingError("give either model or model_init, one of the two")
    nested = {
        name
        for name in ("prompts", "router_mapping")
        if isinstance(setting := getattr(args, name), Mapping)
        and any(isinstance(value, Mapping) for value in setting.values())
    }
    for name, dataset in datasets.items():
        if dataset is None:
            continue
        if isinstance(loss, Mapping):
            names = list(dataset) if isinstance(dataset, Mapping) else None
            if names is None or not set(names) <= set(loss):
                raise SettingError(
                    f"loss is a dict for the datasets {sorted(loss)}, so {name}_dataset must be a "
                    f"dict of datasets with these names; got {names or type(dataset).__name__}"
                )
        if nested and not isinstance(dataset, Mapping):
            raise SettingError(
                f"{' and '.join(sorted(nested))} say what to do per dataset and column, but "
                f"{name}_dataset is one dataset; use {{column: ...}} or give a dict of datasets"
            )
    _check_names(args, [dataset for dataset in datasets.values() if dataset is not None])


def _check_names(args: Any, datasets: Sequence[Any]) -> None:
    """Warn of prompts and routes for columns and datasets that are not there."""
    known: set[str] = set()
    for dataset in datasets:
        known.update(dataset if isinstance(dataset, Mapping) else ())
        for one in dataset.values() if isinstance(dataset, Mapping) else [dataset]:
            known.update(column_names(one))
    for option in ("prompts", "router_mapping"):
        setting = getattr(args, option)
        if not isinstance(setting, Mapping) or not known:
            continue
        inner = [value for value in setting.values() if isinstance(value, Mapping)]
        unknown = sorted({*setting, *chain(*inner)} - known)
        if unknown:
            warn(
                f"{option} names {', '.join(map(repr, unknown))}, which is no column and no "
                f"dataset of this run and changes nothing; there are {sorted(known)}"
            )
