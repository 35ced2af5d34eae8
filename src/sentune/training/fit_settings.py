"""What `fit` is asked to do, and the optimizer, schedule and arguments of the trainer for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import (
    get_constant_schedule,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from sentune.encoder.fit_mixin import OPTIMIZER_PARAMS
from sentune.errors import SettingError
from sentune.training.arguments import (
    MultiDatasetBatchSamplers,
    SentenceTransformerTrainingArguments,
)
from sentune.training.fit_loaders import LoaderBatches

if TYPE_CHECKING:
    from sentune.encoder.sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_SCHEDULES: dict[str, Callable[..., Any]] = {
    "constantlr": lambda optimizer, warmup, total: get_constant_schedule(optimizer),
    "warmupconstant": lambda optimizer, warmup, total: get_constant_schedule_with_warmup(
        optimizer, warmup
    ),
    "warmuplinear": get_linear_schedule_with_warmup,
    "warmupcosine": get_cosine_schedule_with_warmup,
    "warmupcosinewithhardrestarts": get_cosine_with_hard_restarts_schedule_with_warmup,
}
# Numbers from 0 and of what type they are; and those that may be None.
_FROM_0: dict[str, type] = {
    "steps_per_epoch": Integral,
    "warmup_steps": Real,
    "weight_decay": Real,
    "max_grad_norm": Real,
}
_OR_NONE = ("steps_per_epoch",)
_NO_DECAY = ("bias", "LayerNorm.weight")


@dataclass(frozen=True)
class FitSettings:
    """The arguments of `fit` that decide what is learned, see there, and the loaders' batch sizes.

    They are what the record of the run and the model card show.
    """

    epochs: int = 1
    steps_per_epoch: int | None = None
    scheduler: str = "WarmupLinear"
    warmup_steps: int = 10000
    optimizer_class: type[Optimizer] = torch.optim.AdamW
    optimizer_params: Mapping[str, Any] | None = None
    weight_decay: float = 0.01
    evaluation_steps: int | None = 0
    save_best_model: bool = True
    max_grad_norm: float = 1
    use_amp: bool | None = None
    batch_size: int | list[int | None] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not isinstance(self.epochs, Real) or self.epochs <= 0:
            raise SettingError(
                f"epochs must be a number above 0, got {self.epochs!r}; with 0 nothing is trained"
            )
        for name, kind in _FROM_0.items():
            value = getattr(self, name)
            if not (isinstance(value, kind) and value >= 0) and not (
                value is None and name in _OR_NONE
            ):
                what = "a whole number" if kind is Integral else "a number"
                raise SettingError(f"{name} must be {what} from 0, got {value!r}")
        steps = self.evaluation_steps  # below 1: only after each epoch
        if steps is not None and not isinstance(steps, Integral):
            raise SettingError(f"evaluation_steps must be a whole number, got {steps!r}")
        given = self.optimizer_class
        if isinstance(given, (str, Optimizer)) or not callable(given):
            raise SettingError(
                f"optimizer_class must be a class of optimizers, got {given!r}; pass the class "
                "itself, as torch.optim.AdamW, and its settings as optimizer_params={'lr': 2e-5}"
            )
        if not isinstance(self.optimizer_params, Mapping | None):
            raise SettingError(
                f"optimizer_params must be a dict, as {{'lr': 2e-5}}, got {self.optimizer_params!r}"
            )
        if not isinstance(self.scheduler, str) or self.scheduler.lower() not in _SCHEDULES:
            raise SettingError(
                f"scheduler must be one of {list(_SCHEDULES)} in any case, got {self.scheduler!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, as they are shown."""
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "optimizer_class": getattr(
                self.optimizer_class, "__name__", repr(self.optimizer_class)
            ),
            "optimizer_params": dict(self.optimizer_params or OPTIMIZER_PARAMS),
        }


def arguments_of(
    settings: FitSettings, model: SentenceTransformer, steps: int, **options: Any
) -> SentenceTransformerTrainingArguments:
    """The arguments of the trainer for a run of `fit`."""
    # What was set with torch.manual_seed decides the order, else the same one every time.
    seed = torch.initial_seed() % 2**31
    on_cuda, use_amp = model.device.type == "cuda", settings.use_amp
    return SentenceTransformerTrainingArguments(
        batch_sampler=lambda dataset, **_: LoaderBatches(dataset, steps, seed),
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.ROUND_ROBIN,
        num_train_epochs=settings.epochs,
        eval_steps=settings.evaluation_steps or None,
        max_grad_norm=settings.max_grad_norm,
        use_cpu=model.device.type == "cpu",  # the model is trained where it is
        fp16=bool(use_amp) and on_cuda,
        bf16=None if use_amp is None else use_amp and not on_cuda,
        seed=seed,
        **options,
    )


def optimizer_of(settings: FitSettings, module: nn.Module) -> Optimizer:
    """The optimizer over all parameters of a module that are trained."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (plain if any(part in name for part in _NO_DECAY) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    given = settings.optimizer_params
    chosen = dict(OPTIMIZER_PARAMS if given is None else given)
    if settings.optimizer_class is torch.optim.AdamW and not {"fused", "foreach"} & chosen.keys():
        chosen["fused"] = True  # one pass over the weights in place of a dozen
    try:
        return settings.optimizer_class(groups, **chosen)
    except TypeError as error:  # settings that this class does not have
        raise SettingError(
            f"optimizer_class={settings.optimizer_class!r} cannot be made with {chosen}: {error}"
        ) from error


def schedule_of(settings: FitSettings, optimizer: Optimizer, total: int) -> Any:
    """How the learning rate goes over the steps."""
    name, warmup = settings.scheduler.lower(), settings.warmup_steps
    if "warmup" in name and 0 < total <= warmup:
        logger.warning(
            "warmup_steps=%d is not reached in the %d steps of this run: the learning rate stays "
            "below the one asked for; a tenth of the steps is usual, warmup_steps=%d",
            warmup,
            total,
            total // 10,
        )
    return _SCHEDULES[name](optimizer, warmup, total)
