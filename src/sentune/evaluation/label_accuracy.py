"""How often does the classifier of a loss name the right class?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from sentune.errors import SettingError
from sentune.evaluation.base import SentenceEvaluator


class LabelAccuracyEvaluator(SentenceEvaluator):
    """The part of the rows whose class `losses.SoftmaxLoss` predicts right: `accuracy`.

    Args:
        dataloader: A `torch.utils.data.DataLoader` over examples with `texts` and `label`.
        name: Of the data.
        softmax_model: The loss with the classifier.
        write_csv: Whether to write `accuracy_evaluation_{name}_results.csv`.
    """

    def __init__(
        self,
        dataloader: Any,
        name: str = "",
        softmax_model: Callable[..., Any] | None = None,
        write_csv: bool = True,
    ) -> None:
        if softmax_model is None:
            raise SettingError("softmax_model is missing: the SoftmaxLoss of the training")
        self.dataloader = dataloader
        self.softmax_model = softmax_model
        self.name = name
        self.write_csv = write_csv
        self._name_csv_file("accuracy_evaluation", name)
        self._name_csv_columns("accuracy")
        self.primary_metric = "accuracy"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The accuracy; arguments as in `SentenceEvaluator`."""
        was_training = model.training
        model.eval()
        try:
            metrics = {"accuracy": self._accuracy(model)}
        finally:
            model.train(was_training)
        return self._report(model, metrics, metrics, output_path, epoch, steps)

    @torch.no_grad()
    def _accuracy(self, model: Any) -> float:
        right = total = 0
        for examples in _batches(self.dataloader):
            texts = zip(*(example.texts for example in examples), strict=True)
            columns = [_on(model.device, model.tokenize(list(column))) for column in texts]
            _, logits = self.softmax_model(columns, labels=None)
            labels = torch.tensor([example.label for example in examples])
            right += int((logits.argmax(dim=1).cpu() == labels).sum())
            total += len(examples)
        return right / total


def _batches(dataloader: Any) -> Iterable[list[Any]]:
    """The examples themselves; the loader given is not changed."""
    from torch.utils.data import DataLoader

    size = dataloader.batch_size or 32  # None where a batch sampler makes the batches
    return DataLoader(dataloader.dataset, batch_size=size, collate_fn=list)


def _on(device: torch.device, features: dict[str, Any]) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}
