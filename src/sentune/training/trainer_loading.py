"""What a trainer reads: datasets, the collator, and the samplers that make batches of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer

from sentune.errors import DatasetError, SettingError
from sentune.training import dataloaders as loaders
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.training.dataset_rows import (
    DATASET_NAME,
    as_dataset,
    check_names,
    column_names,
    named_rows,
)
from sentune.training.evaluating import Evaluator


class LoadingTrainer(Trainer):
    """The part of the trainer that makes batches of datasets."""

    args: SentenceTransformerTrainingArguments
    eval_dataset: Any
    loss: Any
    evaluators: list[Evaluator]
    data_collator_class: type[SentenceTransformerDataCollator] = SentenceTransformerDataCollator

    def get_data_collator(
        self, model: Any, args: SentenceTransformerTrainingArguments, processing_class: Any = None
    ) -> Callable[[list[dict[str, Any]]], Any]:
        """What makes batches of rows, reading texts as the model does; override it for your own.

        Args:
            model: The model in training.
            args: The settings of the run.
            processing_class: Not used: the model has its tokenizer.
        """
        return self.data_collator_class(
            preprocess_fn=model.preprocess,
            router_mapping=args.router_mapping,
            prompts=args.prompts,
            max_length=getattr(args, "max_length", None),
        )

    def get_batch_sampler(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> Any:
        """Which rows of a dataset come together; override it for a sampler of your own.

        Args:
            dataset: The rows.
            batch_size: Rows of a batch.
            drop_last: Whether a last batch with fewer is left out.
            valid_label_columns: Names that the label column may have.
            generator: What draws the order.
            seed: With the number of the epoch, what the generator begins with.
        """
        return loaders.row_sampler(
            self.args,
            dataset,
            batch_size=batch_size,
            drop_last=drop_last,
            valid_label_columns=valid_label_columns,
            generator=generator,
            seed=seed,
        )

    def get_multi_dataset_batch_sampler(
        self,
        dataset: Any,
        batch_samplers: Sequence[Any],
        generator: torch.Generator | None = None,
        seed: int | None = 0,
    ) -> Any:
        """Which dataset the next batch comes from; override it for an order of your own.

        Args:
            dataset: The rows of all datasets, one after the other.
            batch_samplers: What draws the batches of each.
            generator: What draws the order.
            seed: With the number of the epoch, what the generator begins with.
        """
        options = {"generator": generator, "seed": seed}
        return loaders.dataset_sampler(self.args, dataset, batch_samplers, **options)

    # Names of datasets and columns ----------------------------------------------------------------

    def preprocess_dataset(self, dataset: Any = None, dataset_name: str | None = None) -> Any:
        """A dataset, or a dict of them, in the form that this trainer reads; None for None.

        Args:
            dataset: As it was given.
            dataset_name: "train" or "eval".
        """
        if dataset is None:
            return None
        dataset = as_dataset(dataset, f"{dataset_name or 'train'}_dataset")
        self.validate_column_names(dataset, dataset_name)
        wants_names = self.should_dataset_name_column_be_added(dataset, self.args, self.loss)
        # Rows of several datasets carry the name by themselves.
        is_own = type(self).add_dataset_name_column is not LoadingTrainer.add_dataset_name_column
        return self.add_dataset_name_column(dataset) if wants_names and is_own else dataset

    def validate_column_names(self, dataset: Any, dataset_name: str | None = None) -> None:
        """Raise a DatasetError if columns have names that this trainer uses itself."""
        what = "the dataset" if dataset_name is None else f"{dataset_name}_dataset"
        several = dataset if isinstance(dataset, Mapping) else {None: dataset}
        for name, one in several.items():
            check_names(column_names(one), what if name is None else f"{what}[{name!r}]")

    def should_dataset_name_column_be_added(
        self,
        dataset: Any,
        args: SentenceTransformerTrainingArguments,
        loss: nn.Module | Mapping[str, nn.Module],
    ) -> bool:
        """Whether what happens to a row depends on which of several datasets it is of."""
        routes = args.router_mapping
        is_nested = isinstance(routes, Mapping) and any(
            isinstance(value, Mapping) for value in routes.values()
        )
        by_name = isinstance(loss, Mapping) or bool(args.prompts) or is_nested
        return isinstance(dataset, Mapping) and by_name

    def add_dataset_name_column(self, dataset: Any, dataset_name: str | None = None) -> Any:
        """The dataset with its name in a column "dataset_name"; of a dict, each with its own.

        Args:
            dataset: A `datasets.Dataset`, an `IterableDataset`, or a dict of them.
            dataset_name: The name; None to add no column.
        """
        if isinstance(dataset, Mapping):
            named = {name: self.add_dataset_name_column(one, name) for name, one in dataset.items()}
            return type(dataset)(named)  # type: ignore[call-arg]
        if dataset_name is None:
            return dataset
        add = partial(self.add_dataset_name_transform, dataset_name=dataset_name)
        if hasattr(dataset, "with_transform"):
            kwargs = dataset.format["format_kwargs"]
            return dataset.with_transform(partial(add, **kwargs))
        if hasattr(dataset, "map"):
            return dataset.map(add, batched=True)
        raise DatasetError(
            "a name can be added to a datasets.Dataset, an IterableDataset or a dict of them; got "
            f"{type(dataset).__name__}"
        )

    @staticmethod
    def add_dataset_name_transform(
        batch: dict[str, list[Any]],
        dataset_name: str | None = None,
        transform: Callable[[dict[str, list[Any]]], dict[str, list[Any]]] | None = None,
        **kwargs: Any,
    ) -> dict[str, list[Any]]:
        """Columns of rows with one more, "dataset_name", after a transform of the user's.

        Args:
            batch: Column -> its cells.
            dataset_name: The name; None to add no column.
            transform: What is done to the columns before.
            **kwargs: Other settings of a transform in `datasets`, without effect here.
        """
        if transform is not None:
            batch = transform(batch)
        cells = next(iter(batch.values()), [])
        if dataset_name is None or not len(cells):
            return batch
        return {**batch, DATASET_NAME: [dataset_name] * len(cells)}

    # Batches --------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """Batches to train on."""
        if self.train_dataset is None:
            raise SettingError("there is no train_dataset; give the trainer one")
        # Rows that come twice to make batches even would be false negatives.
        self.accelerator.even_batches = False
        return self._loader(self.train_dataset, self._train_batch_size, is_training=True)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Batches to evaluate on.

        Args:
            eval_dataset: A dataset, or the name of one of `eval_dataset`; by default that one.
        """
        eval_dataset = self._chosen(eval_dataset)
        if eval_dataset is None:
            if self.evaluators:
                return DataLoader([])  # type: ignore[arg-type]
            raise SettingError("there is no eval_dataset and no evaluator; give the trainer one")
        self.accelerator.even_batches = True
        return self._loader(eval_dataset, self.args.eval_batch_size, is_training=False)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As `get_eval_dataloader`."""
        return self.get_eval_dataloader(as_dataset(test_dataset, "test_dataset"))

    def _chosen(self, eval_dataset: Any) -> Any:
        """The dataset itself, the one of that name, or by default the trainer's."""
        if isinstance(eval_dataset, str):
            return named_rows(eval_dataset, self.eval_dataset[eval_dataset])
        return self.eval_dataset if eval_dataset is None else eval_dataset

    def _loader(self, dataset: Any, batch_size: int, *, is_training: bool) -> DataLoader:
        loader = loaders.make_loader(self, dataset, batch_size, is_training=is_training)
        return self.accelerator.prepare(loader)
