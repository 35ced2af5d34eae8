"""What would go wrong in a run, found before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from torch import nn
from torch.utils.data import RandomSampler

from sentune.engine.deferred import made
from sentune.errors import SettingError, warn
from sentune.files import save as files_save
from sentune.losses.fitting import check
from sentune.machine.randomness import seeded
from sentune.models.router import Router
from sentune.training.arguments import BatchSamplers, SentenceTransformerTrainingArguments
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.training.dataset_rows import NumberedRows, column_names, rows_of, rows_of_examples
from sentune.training.fit_loaders import LoaderRows
from sentune.training.routes import check_columns, check_mapping

_PORTION = 1000  # rows that are read at once
_OTHER_SPLITS = {"test", "dev", "validation", "valid", "eval"}


def check_data(
    dataset: Any,
    losses: nn.Module | Mapping[str, nn.Module],
    args: SentenceTransformerTrainingArguments | None = None,
) -> None:
    """Raise if a loss cannot learn from its dataset; warn of what is odd about it.

    Without `args` the dataset is one that is not trained on.
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
            check(one, loss, name=name, **batches)


def check_routes(model: nn.Module, collator: Any, datasets: Mapping[str, Any]) -> None:
    """Raise if a column of a dataset takes no route, or one that is not there.

    Args:
        model: The model in training.
        collator: What makes the batches; one that does not map columns to routes is not judged.
        datasets: What each is, for messages -> a dataset, a dict of them, or None.
    """
    if not isinstance(collator, SentenceTransformerDataCollator):
        return
    mapping, labels = collator.router_mapping, set(collator.valid_label_columns)
    check_mapping(model, mapping)
    if not any(isinstance(module, Router) for module in model.modules()):
        return
    for what, dataset in datasets.items():
        several = dataset if isinstance(dataset, Mapping) else {None: dataset}
        for name, one in several.items():
            cells = {} if one is None else _first_cells(one)
            texts = {column: cells[column] for column in cells if column not in labels}
            place = what if name is None else f"{what}[{name!r}]"
            is_fit = isinstance(one, LoaderRows)
            check_columns(model, mapping, texts, place, name, is_fit=is_fit)


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
    args: Any, model: Any, model_init: Any, loss: Any, datasets: Mapping[str, Any]
) -> None:
    """Raise if the arguments of a trainer contradict each other."""
    if not isinstance(args, SentenceTransformerTrainingArguments):
        raise SettingError(
            f"args must be SentenceTransformerTrainingArguments, got {type(args).__name__}"
        )
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
