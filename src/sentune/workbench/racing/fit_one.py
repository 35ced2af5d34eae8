"""One training of a race: a fresh model, rows in the form of a candidate, the usual trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, set_seed
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_utils import get_last_checkpoint

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SettingError
from sentune.record.logs import OF_THE_TRAINER, PADDING_SAVED
from sentune.training.arguments import BatchSamplers, SentenceTransformerTrainingArguments
from sentune.training.dataloaders import SAMPLERS
from sentune.training.trainer import SentenceTransformerTrainer
from sentune.workbench.racing.anchors import AnchoredLoss, Anchors
from sentune.workbench.racing.candidates import Candidate
from sentune.workbench.racing.loss import loss_of
from sentune.workbench.records.kept import LOGS
from sentune.workbench.records.telling import Teller
from sentune.workbench.rows import roles
from sentune.workbench.settings import Settings

_POINTS = 100  # of a curve
_CURVES = ("loss", "learning_rate", "grad_norm", PADDING_SAVED)
SAVE_EVERY_S = 60.0  # between two checkpoints; saving takes about a second


@dataclass(frozen=True)
class Fitted:
    """A model after a training.

    Attributes:
        model: With its record, which the model card shows.
        steps: Of the optimizer that were done.
        curves: "loss", "learning_rate" ... -> `[step, value]`; "parts" -> those of the loss by
            name.
        seconds: How long it took.
        is_stopped: Whether Ctrl-C ended it early.
    """

    model: Any
    steps: int
    curves: dict[str, Any]
    seconds: float
    is_stopped: bool


def start_of(settings: Settings) -> SentenceTransformer:
    """The model to start from, as every training gets it.

    Raises:
        SettingError: If an adapter is asked for and the model has no transformer.
    """
    model = SentenceTransformer(settings.model, device=settings.device, dtype=settings.dtype)
    if settings.max_length is not None:
        model.max_seq_length = settings.max_length
    if settings.prompts:
        model.prompts = {**model.prompts, **settings.prompts}
    if settings.lora is not None and not hasattr(model[0], "auto_model"):
        raise SettingError(
            f"lora={settings.lora} trains an adapter of a transformer, and the model begins with a "
            f"{type(model[0]).__name__}; leave lora out, so that all weights are trained"
        )
    return model


def fit(
    candidate: Candidate,
    datasets: Sequence[Any],
    steps: int,
    settings: Settings,
    folder: Path,
    teller: Teller,
    label: str,
    anchors: Anchors | None = None,
) -> Fitted:
    """Train a fresh model on a dataset that has the form which the loss reads, or on several.

    Args:
        candidate: Losses and settings.
        datasets: The rows of each dataset.
        steps: Length of the schedule.
        settings: What is the same for all candidates.
        folder: For checkpoints; it goes on from one that is there.
        teller: Says how far it is.
        label: What it is called while it goes on.
        anchors: Texts that are to stay where they are.
    """
    set_seed(settings.seed)
    model = start_of(settings)
    if settings.lora is not None:
        _add_adapter(model, settings.lora)
    each = zip(candidate.each, datasets, strict=True)
    own = [loss_of(one, model, rows, settings) for one, rows in each]
    if anchors is not None:
        pairs = zip(own, candidate.each, strict=True)
        own = [AnchoredLoss(model, loss, anchors, one.anchor_weight) for loss, one in pairs]
    bar = teller.bar(label, steps)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=_arguments(candidate, datasets, steps, settings, folder, model),
        train_dataset=_by_name(datasets),
        loss=_by_name(own),
        callbacks=[_Watch(bar.show, settings.stop_step)],
    )
    for kind in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(kind)
    _keep_logs(trainer, Path(settings.output).expanduser() / LOGS / folder.name)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    began = time.perf_counter()
    is_stopped = False
    try:
        trainer.train(resume_from_checkpoint=last)
    except KeyboardInterrupt:
        is_stopped = True
    finally:
        bar.close()
    if settings.lora is not None:
        _merge_adapter(model)
    seconds = time.perf_counter() - began
    curves = _curves(trainer.state.log_history)
    return Fitted(model.eval(), trainer.state.global_step, curves, seconds, is_stopped)


def _by_name(each: Sequence[Any]) -> Any:
    """What there is for each dataset, as the trainer takes it: by name if there are several."""
    return each[0] if len(each) == 1 else {f"data {n + 1}": one for n, one in enumerate(each)}


def _batches_of(each: Sequence[Candidate], datasets: Sequence[Any]) -> dict[str, Any]:
    """How many rows are in a batch and which ones; of several datasets as each of them wants it."""
    sizes = [min(one.batch_size, len(rows)) for one, rows in zip(each, datasets, strict=True)]
    if len(each) == 1:
        return {"per_device_train_batch_size": sizes[0], "batch_sampler": each[0].sampler}

    def sampler(dataset: Any, **options: Any) -> Any:
        place = next(n for n, rows in enumerate(datasets) if rows is dataset)
        kind = SAMPLERS[BatchSamplers(each[place].sampler)]
        return kind(dataset, **{**options, "batch_size": sizes[place]})

    return {"per_device_train_batch_size": max(sizes), "batch_sampler": sampler}


def _arguments(
    candidate: Candidate,
    datasets: Sequence[Any],
    steps: int,
    settings: Settings,
    folder: Path,
    model: Any,
) -> SentenceTransformerTrainingArguments:
    pairs = zip(datasets, candidate.each, strict=True)
    columns = [roles.roles_of(rows, one.data_as) for rows, one in pairs]
    prompts = [roles.prompts_of(model, one) or {} for one in columns]
    routes = [roles.routes_of(model, one) or {} for one in columns]
    device = torch.device(settings.device or "cpu") if settings.device else None
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        **_batches_of(candidate.each, datasets),
        learning_rate=candidate.learning_rate,
        warmup_ratio=candidate.warmup,
        weight_decay=candidate.weight_decay,
        seed=settings.seed,
        prompts=_by_name(prompts) if any(prompts) else None,
        router_mapping=_by_name(routes) if any(routes) else None,
        use_cpu=device is not None and device.type == "cpu",
        logging_steps=max(1, steps // _POINTS),
        save_strategy="no",  # by the clock, see `_Watch`
        save_total_limit=1,
        include_num_input_tokens_seen="non_padding",
        report_to=settings.report_to or "none",
        disable_tqdm=True,
    )


def _keep_logs(trainer: SentenceTransformerTrainer, folder: Path) -> None:
    """Let TensorBoard's files outlive the folder of checkpoints, which goes when all is over."""
    for one in trainer.callback_handler.callbacks:
        if isinstance(one, TensorBoardCallback) and one.logging_dir is None:
            one.logging_dir = str(folder)


def _add_adapter(model: Any, rank: int) -> None:
    from sentune.files.modules.adapter_base import need_peft

    peft = need_peft()
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    model[0].auto_model = peft.get_peft_model(model[0].auto_model, config)


def _merge_adapter(model: Any) -> None:
    model[0].auto_model = model[0].auto_model.merge_and_unload()
    for weight in model.parameters():
        weight.requires_grad_(True)


def _curves(log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    log = [entry for entry in log if "loss" in entry]
    found: dict[str, Any] = {name: _points(log, name) for name in _CURVES}
    found["tokens_per_second"] = list(_speeds(log))
    parts = dict.fromkeys(
        name
        for entry in log
        for name in entry
        if name != "loss" and not OF_THE_TRAINER.fullmatch(name)
    )
    found["parts"] = {name: _points(log, name) for name in parts}
    return {name: points for name, points in found.items() if points}


def _points(log: Sequence[Mapping[str, Any]], name: str) -> list[list[float]]:
    return [[entry["step"], float(entry[name])] for entry in log if name in entry]


def _speeds(log: Sequence[Mapping[str, Any]]) -> Iterator[list[float]]:
    """Step and tokens read in a second, between an entry and the one before it."""
    tokens = seconds = 0.0
    for entry in log:
        if entry["train_runtime"] < seconds:  # it was stopped there and went on
            seconds = 0.0
        read, took = entry["num_input_tokens_seen"] - tokens, entry["train_runtime"] - seconds
        if took > 0:
            yield [entry["step"], read / took]
        tokens, seconds = entry["num_input_tokens_seen"], entry["train_runtime"]


class _Watch(TrainerCallback):
    """Shows the progress, saves a checkpoint now and then, stops at a step."""

    def __init__(self, show: Callable[[int, float], None], stop_step: int | None) -> None:
        self.show, self.stop_step = show, stop_step
        self.saved = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "loss" in kwargs["logs"]:
            recent = [entry["loss"] for entry in state.log_history[-10:] if "loss" in entry]
            self.show(state.global_step, sum(recent) / len(recent))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stop_step is not None and state.global_step >= self.stop_step:
            control.should_training_stop = True
        if time.monotonic() - self.saved >= SAVE_EVERY_S:
            control.should_save = True
            self.saved = time.monotonic()
