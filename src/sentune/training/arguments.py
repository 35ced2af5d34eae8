"""The settings of a training run: those of `transformers.TrainingArguments` and a few more."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import get_int_from_env, parse_flag_from_env
from transformers import TrainingArguments
from transformers.training_args import ParallelMode
from transformers.utils.generic import ExplicitEnum

from sentune.errors import SettingError, warn
from sentune.machine.device import auto_dtype, best_device

logger = logging.getLogger(__name__)

# How many processes there are, as torchrun and several kinds of mpirun say it.
_PROCESS_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


class _Choice(ExplicitEnum):
    """A string option whose error lists what is allowed."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        allowed = [choice.value for choice in cls]
        raise SettingError(f"{cls.__name__} must be one of {allowed}, got {value!r}")


class BatchSamplers(_Choice):
    """Which rows of a dataset come together in a batch; see `sentune.training.samplers`."""

    BATCH_SAMPLER = "batch_sampler"
    NO_DUPLICATES = "no_duplicates"
    NO_DUPLICATES_HASHED = "no_duplicates_hashed"
    GROUP_BY_LABEL = "group_by_label"


class MultiDatasetBatchSamplers(_Choice):
    """Which dataset the next batch comes from; see `sentune.training.samplers`."""

    ROUND_ROBIN = "round_robin"
    PROPORTIONAL = "proportional"


def _setting(default: Any, words: str) -> Any:
    """A field with the help that a command line shows."""
    return field(default=default, metadata={"help": words})


@dataclass
class SentenceTransformerTrainingArguments(TrainingArguments):
    """Settings of a training run; every argument of `transformers.TrainingArguments` as well.

    What differs from there: a run uses one device, or one per process that `torchrun` starts, and
    never `DataParallel`; a loss that is not a number stops the run, so it is not filtered out of
    the log; `train_sampling_strategy` is "random" or "sequential".

    Args:
        prompts: Text put before each input in training: one for all columns, `{column: prompt}`,
            `{dataset: prompt}` or `{dataset: {column: prompt}}`. A JSON string works too.
        batch_sampler: Which rows come together in a batch: a `BatchSamplers` value, a subclass of
            `DefaultBatchSampler`, or a function with its arguments that returns a batch sampler.
        multi_dataset_batch_sampler: Which of several datasets the next batch comes from:
            "proportional" to their sizes, "round_robin" until the smallest is used up, a subclass
            of `MultiDatasetDefaultBatchSampler`, or a function with its arguments.
        router_mapping: Route of each column for a model with a `Router`: `{column: route}` or
            `{dataset: {column: route}}`.
        learning_rate_mapping: Regular expression -> learning rate for the parameters whose name
            it is found in; where several match, the last one counts.
        warmup_ratio: Share of the steps that warm up; `warmup_steps` below 1 means the same.
        bf16: Whether to multiply in bfloat16; weights, losses and the optimizer stay in float32.
            By default where the chip has it natively, unless the model was made with an exact
            `dtype` or `fp16` is set. False for exact float32.

    Raises:
        SettingError: If a value is outside of what is allowed, or if this process is one of
            several that would each train a model of its own.
    """

    prompts: dict[str, Any] | str | None = _setting(
        None, "Prompt for all columns, or per column or dataset."
    )
    batch_sampler: BatchSamplers | str | Callable[..., Any] = _setting(
        BatchSamplers.BATCH_SAMPLER, "Which rows come together in a batch."
    )
    multi_dataset_batch_sampler: MultiDatasetBatchSamplers | str | Callable[..., Any] = _setting(
        MultiDatasetBatchSamplers.PROPORTIONAL, "Which of several datasets the next batch is from."
    )
    router_mapping: dict[str, Any] | str | None = _setting(
        None, "Column -> route, or dataset -> column -> route."
    )
    learning_rate_mapping: dict[str, Any] | str | None = _setting(
        None, "Regular expression over parameter names -> rate."
    )
    warmup_ratio: float | None = _setting(None, "Share of the steps that warm up.")
    bf16: bool | None = _setting(  # type: ignore[assignment]
        None, "Multiply in bfloat16; by default where the chip has it."
    )
    # A NaN loss stops the run; hiding it from the log would only delay the message.
    logging_nan_inf_filter: bool = _setting(False, "Leave NaN and inf out of the logged loss.")

    def __post_init__(self) -> None:
        """Check the values and settle what follows from them."""
        self._read_warmup_ratio()
        self._read_precision()
        warmup_steps = self.warmup_steps
        super().__post_init__()
        # transformers 5.9 has taken the ratio once more, as it is.
        self.warmup_steps = warmup_steps
        self._read_choices()
        self._read_mappings()
        self._one_device_per_process()
        self.prediction_loss_only = True  # there are no logits
        # Broadcasting buffers writes to them in place while a packed batch may still need them.
        self.ddp_broadcast_buffers = False
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # nothing to copy to
        config: Any = self.accelerator_config
        if config.dispatch_batches is None:
            config.dispatch_batches = False  # ragged batches cannot be sliced between processes

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values; samplers given as a class or function by name."""
        values = super().to_dict()
        for name in ("batch_sampler", "multi_dataset_batch_sampler"):
            if callable(values[name]):
                values[name] = getattr(values[name], "__qualname__", repr(values[name]))
        return values

    def _read_warmup_ratio(self) -> None:
        if self.warmup_ratio is None:
            return
        if not 0 <= self.warmup_ratio <= 1:
            raise SettingError(f"warmup_ratio must be between 0 and 1, got {self.warmup_ratio}")
        if self.warmup_steps not in (0, self.warmup_ratio):
            raise SettingError(
                f"give warmup_ratio ({self.warmup_ratio}) or warmup_steps ({self.warmup_steps}), "
                "not both"
            )
        # 1.0 would be read as one step.
        self.warmup_steps = min(self.warmup_ratio, 1 - 1e-12)

    def exact(self) -> SentenceTransformerTrainingArguments:
        """These settings for a model that asks for exact numbers: bfloat16 only where named."""
        if not self.is_auto_precision:
            return self
        changed = copy.copy(self)
        changed.bf16, changed.mixed_precision = False, "no"
        return changed

    def _read_precision(self) -> None:
        device = _device(use_cpu=self.use_cpu)
        self.is_auto_precision = self.bf16 is None
        if self.bf16 is None:
            self.bf16 = not self.fp16 and auto_dtype(device) == torch.bfloat16
        # Unless told that the CPU is meant, transformers refuses bfloat16 on it, and of several
        # processes each would train a model of its own.
        self.use_cpu = device.type == "cpu"

    def _read_choices(self) -> None:
        kinds: dict[str, type[_Choice]] = {
            "batch_sampler": BatchSamplers,
            "multi_dataset_batch_sampler": MultiDatasetBatchSamplers,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if isinstance(value, str):
                setattr(self, name, kind(value))
            elif not callable(value):
                raise SettingError(
                    f"{name} must be a name, a class or a function, got {value!r}; "
                    "pass the class itself, not an instance"
                )
        if self.train_sampling_strategy not in ("random", "sequential"):
            raise SettingError(
                "train_sampling_strategy must be 'random' or 'sequential', got "
                f"{self.train_sampling_strategy!r}; batches are packed, so rows of like length "
                "need not come together"
            )

    def _read_mappings(self) -> None:
        # A prompt may be any string, also one that looks like JSON and is none.
        if isinstance(self.prompts, str):
            self.prompts = _json_of(self.prompts, otherwise=self.prompts)
        for name in ("router_mapping", "learning_rate_mapping"):
            value = getattr(self, name)
            found = _json_of(value) if isinstance(value, str) and value else value or {}
            if not isinstance(found, Mapping):
                raise SettingError(f"{name} must be a dict or its JSON, got {value!r}")
            setattr(self, name, dict(found))
        for name in ("prompts", "router_mapping"):
            _check_texts(name, getattr(self, name))
        rates: Any = self.learning_rate_mapping
        for pattern, rate in rates.items():
            if not isinstance(rate, (int, float)) or rate < 0:
                raise SettingError(
                    f"learning_rate_mapping[{pattern!r}] must be a number from 0, got {rate!r}"
                )

    def _one_device_per_process(self) -> None:
        counts = {name: get_int_from_env([name], 1) for name in _PROCESS_COUNTS}
        started = {name: count for name, count in counts.items() if count > 1}
        if started and self.world_size == 1:
            name, count = started.popitem()
            raise SettingError(
                f"this is one of {count} processes ({name}={count}), and each would train a copy "
                f"of the model by itself on {self.device}. To train one model on several GPUs or "
                "on the CPU (use_cpu=True), start the script with torchrun; where there is one "
                f"accelerator, with python; for separate models, unset {name}"
            )
        if self.n_gpu > 1:
            warn(
                f"{self.n_gpu} GPUs are visible and one is used. To use them all, start the script "
                f"with: torchrun --nproc-per-node {self.n_gpu} script.py"
            )
            self._n_gpu = 1
        if self.parallel_mode == ParallelMode.DISTRIBUTED and not self.dataloader_drop_last:
            logger.info("dataloader_drop_last=True: all processes need as many full batches")
            self.dataloader_drop_last = True


def _device(*, use_cpu: bool | None) -> torch.device:
    """Where transformers will train: on an accelerator of any kind, if there is one."""
    if use_cpu or parse_flag_from_env("ACCELERATE_USE_CPU"):
        return torch.device("cpu")
    found = best_device()
    # Kinds that sentune does not choose by itself; torch.accelerator is there from torch 2.6 on.
    if found.type == "cpu" and hasattr(torch, "accelerator") and torch.accelerator.is_available():
        return torch.accelerator.current_accelerator() or found
    return found


def _json_of(text: str, otherwise: Any = None) -> Any:
    """The dict or string that is written in a text, else the other."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return otherwise
    return value if isinstance(value, (dict, str)) else otherwise


def _check_texts(name: str, setting: Any) -> None:
    """Raise if a setting holds something else than strings, per column or dataset or both."""
    outer = list(setting.values()) if isinstance(setting, Mapping) else [setting]
    inner = [one for value in outer if isinstance(value, Mapping) for one in value.values()]
    plain = [value for value in outer if not isinstance(value, Mapping)]
    wrong = [value for value in [*plain, *inner] if not isinstance(value, str | None)]
    if wrong:
        raise SettingError(
            f"{name} must hold strings: {{column: ...}}, {{dataset: ...}} or "
            f"{{dataset: {{column: ...}}}}; got {wrong[0]!r}"
        )
