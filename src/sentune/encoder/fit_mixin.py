"""`fit`, the older way to train, as a method of the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sentune._lazy import from_higher_layer
from sentune.checks import with_arguments_of

OPTIMIZER_PARAMS: Mapping[str, Any] = MappingProxyType({"lr": 2e-5})


class FitMixin:
    """The methods of a model that train it."""

    def fit(
        self,
        train_objectives: Iterable[tuple[Any, nn.Module]],
        evaluator: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        scheduler: str = "WarmupLinear",
        warmup_steps: int = 10000,
        optimizer_class: type[Optimizer] = torch.optim.AdamW,
        optimizer_params: Mapping[str, Any] | None = OPTIMIZER_PARAMS,
        weight_decay: float = 0.01,
        evaluation_steps: int = 0,
        output_path: str | None = None,
        save_best_model: bool = True,
        max_grad_norm: float = 1,
        use_amp: bool | None = None,
        callback: Callable[[float, float, int], None] | None = None,
        show_progress_bar: bool = True,
        checkpoint_path: str | None = None,
        checkpoint_save_steps: int = 500,
        checkpoint_save_total_limit: int = 0,
        resume_from_checkpoint: bool | str = False,
    ) -> None:
        """Train the model on pairs of a `DataLoader` over `InputExample`s and a loss.

        See `sentune.training.fit.fit` for the arguments.
        """
        given = dict(locals())
        from_higher_layer("sentune.training.fit", "fit")(given.pop("self"), **given)

    @with_arguments_of(fit, but="resume_from_checkpoint")
    def old_fit(self, *args: Any, **kwargs: Any) -> None:
        """As `fit`, which also trains on the loaders' own batches.

        Of several objectives all share an optimizer, as in `fit`.
        """
        given = inspect.signature(FitMixin.old_fit).bind(self, *args, **kwargs)
        from_higher_layer("sentune.training.fit", "fit")(*given.args, **given.kwargs)

    def smart_batching_collate(self, batch: Sequence[Any]) -> tuple[list[dict[str, Any]], Tensor]:
        """Padded features of each column of `InputExample`s, and their labels `(b,)` or `(b, n)`.

        Args:
            batch: b examples, all with as many texts.
        """
        columns = zip(*(example.texts for example in batch), strict=True)
        features = [self.preprocess(list(texts)) for texts in columns]  # type: ignore[attr-defined]
        labels = [example.label for example in batch]
        if labels and isinstance(labels[0], np.ndarray):
            return features, torch.from_numpy(np.stack(labels))
        return features, torch.tensor(labels)
