"""Datasets -> data loaders, with the samplers that the arguments name."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_utils import seed_worker

from sentune.errors import DatasetError, SettingError
from sentune.training.arguments import (
    BatchSamplers,
    MultiDatasetBatchSamplers,
    SentenceTransformerTrainingArguments,
)
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.training.dataset_rows import (
    LABEL_COLUMNS,
    ROW_NUMBER,
    NumberedRows,
    Row,
    StreamedRows,
)
from sentune.training.fit_loaders import LoaderRows
from sentune.training.samplers import (
    DefaultBatchSampler,
    GroupByLabelBatchSampler,
    NoDuplicatesBatchSampler,
    ProportionalBatchSampler,
    RoundRobinBatchSampler,
)

SAMPLERS: dict[BatchSamplers, Callable[..., DefaultBatchSampler]] = {
    BatchSamplers.BATCH_SAMPLER: DefaultBatchSampler,
    BatchSamplers.NO_DUPLICATES: NoDuplicatesBatchSampler,
    BatchSamplers.NO_DUPLICATES_HASHED: partial(NoDuplicatesBatchSampler, precompute_hashes=True),
    BatchSamplers.GROUP_BY_LABEL: GroupByLabelBatchSampler,
}
_ORDERS = {
    MultiDatasetBatchSamplers.ROUND_ROBIN: RoundRobinBatchSampler,
    MultiDatasetBatchSamplers.PROPORTIONAL: ProportionalBatchSampler,
}


class TellEpoch(TrainerCallback):
    """Tells the rows which epoch is read, for what is drawn at random when they are."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell them."""
        rows = getattr(kwargs.get("train_dataloader"), "dataset", None)
        if isinstance(rows, NumberedRows):
            rows.set_epoch(int(state.epoch or 0))


def row_sampler(args: SentenceTransformerTrainingArguments, dataset: Any, **options: Any) -> Any:
    """The batch sampler of a dataset."""
    chosen: Any = args.batch_sampler
    if not isinstance(chosen, BatchSamplers):
        return chosen(dataset, **options)
    shuffle = args.train_sampling_strategy != "sequential"
    return SAMPLERS[chosen](dataset, shuffle=shuffle, **options)


def dataset_sampler(
    args: SentenceTransformerTrainingArguments, rows: Any, samplers: Sequence[Any], **options: Any
) -> Any:
    """The batch sampler over several datasets."""
    chosen: Any = args.multi_dataset_batch_sampler
    if not isinstance(chosen, MultiDatasetBatchSamplers):
        return chosen(rows, batch_samplers=samplers, **options)
    in_a_row = args.world_size  # so that all processes work on the same dataset at a time
    return _ORDERS[chosen](rows, batch_samplers=samplers, in_a_row=in_a_row, **options)


def make_loader(trainer: Any, dataset: Any, batch_size: int, *, is_training: bool) -> DataLoader:
    """Batches of a dataset, or of several."""
    args: SentenceTransformerTrainingArguments = trainer.args
    options: dict[str, Any] = {
        "collate_fn": _collator(trainer, dataset, is_training),
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory,
        "persistent_workers": args.dataloader_persistent_workers and is_training,
        "prefetch_factor": args.dataloader_prefetch_factor,
        # Later releases of transformers than the oldest that is allowed have it.
        "multiprocessing_context": getattr(args, "dataloader_multiprocessing_context", None),
        "worker_init_fn": partial(
            _start_worker, num_workers=args.dataloader_num_workers, rank=args.process_index
        ),
    }
    if not hasattr(dataset, "__len__"):
        if is_training and args.batch_sampler != BatchSamplers.BATCH_SAMPLER:
            raise SettingError(
                "batch_sampler needs a dataset with a length; this one can only be read from "
                "front to back"
            )
        drop_last = args.dataloader_drop_last
        stream = dataset if isinstance(dataset, StreamedRows) else StreamedRows(dataset)
        return DataLoader(stream, batch_size=batch_size, drop_last=drop_last, **options)
    seed = args.seed if is_training else None
    rows = dataset
    if not isinstance(rows, NumberedRows):
        rows = NumberedRows(dataset if isinstance(dataset, Mapping) else {None: dataset}, seed)
    sampler = _sampler(trainer, rows, batch_size)
    if is_training and len(sampler) < args.world_size:
        raise DatasetError(_no_batch(rows, batch_size, args))
    return DataLoader(rows, batch_sampler=sampler, **options)


def _collator(trainer: Any, dataset: Any, is_training: bool) -> Any:
    """The collator, which keeps tokens where rows come again."""
    collate, workers = trainer.data_collator, trainer.args.dataloader_num_workers
    if not isinstance(collate, SentenceTransformerDataCollator):
        return partial(_by_other, collate)
    datasets = dataset.values() if isinstance(dataset, Mapping) else [dataset]
    is_fit = any(isinstance(one, LoaderRows) for one in datasets)
    what = "train_dataset" if is_training else "eval_dataset"
    collate = collate.for_rows_of("train_objectives" if is_fit else what)
    is_stream = any(getattr(one, "is_stream", not hasattr(one, "__len__")) for one in datasets)
    if not is_training or is_stream or workers:
        return collate  # workers would each keep their own
    return collate.keeping_tokens()


def _by_other(collate: Callable[..., Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The batch of a collator that takes every key of a row but the dataset's name."""
    cells = [{key: row[key] for key in row if key != ROW_NUMBER} for row in rows]
    return {"rows": torch.tensor([row[ROW_NUMBER] for row in rows]), **collate(cells)}


def _no_batch(rows: NumberedRows, batch_size: int, args: Any) -> str:
    sizes = ", ".join(f"{len(dataset):,}" for dataset in rows.datasets)
    each = f" for each of {args.world_size} processes" if args.world_size > 1 else ""
    left_out = ", and dataloader_drop_last=True leaves smaller ones out"
    why = left_out if args.dataloader_drop_last else ""
    return (
        f"there is no batch to train on: of {sizes} rows, batch_sampler="
        f"{getattr(args.batch_sampler, 'value', args.batch_sampler)!r} makes no batch of "
        f"{batch_size:,}{each}{why}; take a smaller per_device_train_batch_size"
    )


def _start_worker(number: int, num_workers: int, rank: int) -> None:
    """Seed a worker, and leave Ctrl-C to the trainer, which needs rows until its step is over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seed_worker(number, num_workers=num_workers, rank=rank)


def _sampler(trainer: Any, rows: NumberedRows, batch_size: int) -> Any:
    args = trainer.args
    seed = args.seed if args.data_seed is None else args.data_seed
    columns = getattr(trainer.data_collator, "valid_label_columns", LABEL_COLUMNS)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    samplers = [
        trainer.get_batch_sampler(
            dataset,
            batch_size=batch_size,
            drop_last=args.dataloader_drop_last,
            valid_label_columns=list(columns),
            generator=generator(),
            seed=seed,
        )
        for dataset in rows.datasets
    ]
    if rows.names == [None] or len(samplers) == 1:
        return samplers[0]
    return trainer.get_multi_dataset_batch_sampler(
        rows, batch_samplers=samplers, generator=generator(), seed=seed
    )
