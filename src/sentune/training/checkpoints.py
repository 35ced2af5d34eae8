"""Checkpoints: written atomically, read back, removed when there are enough of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints

from sentune.disk import folders
from sentune.errors import ModelFileError, SentuneError, TrainingError
from sentune.files.own import own
from sentune.files.restore import restore
from sentune.hub.fetch import Access

_TRAINING_FILES = (
    "optimizer.*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*",
    TRAINER_STATE_NAME,
    "training_args.json",
    "loss.safetensors",
)

discard = partial(shutil.rmtree, ignore_errors=True)


@contextmanager
def written_whole(
    place: Path, *, is_writer: bool = True, wait: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """Inside the block, all processes write to a folder beside its place; then it is put there.

    It is in a folder whose name does not look like that of a checkpoint.
    """
    staging = place.parent / f".{place.name}.unfinished"
    if is_writer:
        for left_by_a_kill in place.parent.glob(f".{PREFIX_CHECKPOINT_DIR}-*"):
            discard(left_by_a_kill)
    wait()
    try:
        yield staging / place.name
        wait()
        if is_writer:
            folders.put(staging / place.name, place)
    except SentuneError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(_failure(place, error)) from error
    finally:
        if is_writer:
            discard(staging)
    wait()


def load_weights(model: Any, folder: Path) -> None:
    """Read the weights of a checkpoint into the model."""
    if not folder.is_dir():
        raise TrainingError(f"there is no checkpoint {folder}")
    try:
        modules = dict(model.named_children())
        restore(modules, folder, Access(), trust_remote_code=model.trust_remote_code)
    except ModelFileError as error:
        raise TrainingError(f"{folder} is no checkpoint of this model: {error}") from error


def copy_model(checkpoint: Path, folder: Path) -> None:
    """Copy the model in a checkpoint, without what is there only to go on with the training."""
    ignored = shutil.ignore_patterns(*_TRAINING_FILES)
    with folders.replaced(folder, own) as draft:
        shutil.copytree(checkpoint, draft, ignore=ignored, dirs_exist_ok=True)


def rotate(folder: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints; never the newest or the best."""
    if not limit:
        return
    paths = [Path(path) for path in sort_checkpoints(str(folder), use_mtime=True)]
    kept = {paths[-1], *([] if best is None else [Path(best)])} if paths else set()
    spare = len(paths) - max(limit, len(kept))
    for path in [path for path in paths if path not in kept][: max(spare, 0)]:
        # Removing takes time, and half of a checkpoint must not look like one.
        aside = path.with_name(f".{path.name}.old")
        discard(aside)
        discard(path.rename(aside))


def place_in_stream(checkpoint: Path, accumulated: int) -> tuple[int, int]:
    """How many passes over a stream were over, and how many batches of the next one."""
    # Its `epoch` counts a pass that is over as 1, however long it was, and in the pass that goes on
    # a step as a share of `max_steps`.
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    passes = int(state["epoch"] or 0)
    return passes, round((state["epoch"] - passes) * state["max_steps"]) * accumulated


def _failure(folder: Path, error: BaseException) -> str:
    """What to say when a folder could not be written."""
    others = [path for path in folder.parent.glob("checkpoint-*") if path != folder]
    last = max(others, key=lambda path: path.stat().st_mtime, default=None)
    kept = "There is no earlier one." if last is None else f"The last whole one is {last}."
    room = shutil.disk_usage(folder.parent).free // 2**20
    return (
        f"the checkpoint {folder} could not be written: {error}. {kept} {room} MiB are free on the "
        "disk; once there is room, go on with trainer.train(resume_from_checkpoint=True)"
    )
