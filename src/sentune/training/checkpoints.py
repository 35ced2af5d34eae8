"""A checkpoint is written whole or not at all: beside its place first, then moved there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints

from sentune.errors import ModelFileError, SentuneError, TrainingError
from sentune.files.restore import restore

_TRAINING_FILES = (
    "optimizer.*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*",
    "trainer_state.json",
    "training_args.json",
    "loss.safetensors",
)


@contextmanager
def written_whole(
    place: Path, *, is_writer: bool = True, wait: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """Inside the block, a folder is written beside its place; then it is moved there.

    It lies on the same disk, in a folder whose name does not look like that of a checkpoint.

    Args:
        place: Where it is to be.
        is_writer: Whether this is the process that makes and moves folders.
        wait: Waits for all processes.

    Raises:
        TrainingError: If it could not be written; nothing is left of it then.
    """
    staging = place.parent / f".{place.name}.unfinished"
    if is_writer:
        for left_by_a_kill in (staging, *place.parent.glob(f".{PREFIX_CHECKPOINT_DIR}-*")):
            discard(left_by_a_kill)
    wait()
    try:
        yield staging / place.name
        wait()
        if is_writer:
            publish(staging / place.name, place)
    except SentuneError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(_failure(place, error)) from error
    finally:
        if is_writer:
            discard(staging)
    wait()


def load_weights(model: Any, folder: Path) -> None:
    """Read the weights of a checkpoint into the model.

    Args:
        model: The SentenceTransformer in training.
        folder: Of the checkpoint.

    Raises:
        TrainingError: If the folder holds no checkpoint of this model.
    """
    if not folder.is_dir():
        raise TrainingError(f"there is no checkpoint {folder}")
    try:
        modules = dict(model.named_children())
        restore(modules, folder, trust_remote_code=model.trust_remote_code)
    except ModelFileError as error:
        raise TrainingError(f"{folder} is no checkpoint of this model: {error}") from error


def copy_model(checkpoint: Path, folder: Path) -> None:
    """Copy the model in a checkpoint, without what is there only to go on with the training.

    Args:
        checkpoint: The checkpoint.
        folder: Where to; files of the same name are replaced.
    """
    ignored = shutil.ignore_patterns(*_TRAINING_FILES)
    shutil.copytree(checkpoint, folder, ignore=ignored, dirs_exist_ok=True)


def publish(staged: Path, folder: Path) -> None:
    """Move a finished folder to its place.

    A folder that is there already is put aside first, so that one of the two is whole at any time.

    Args:
        staged: The finished folder.
        folder: Its place.
    """
    for file in staged.rglob("*"):
        _to_disk(file)
    aside = _out_of_sight(folder)
    os.replace(staged, folder)
    _to_disk(folder.parent)
    discard(aside)


def rotate(folder: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints; never the newest or the best.

    Args:
        folder: Where they are.
        limit: How many are kept; None or 0 for all.
        best: The checkpoint with the best model, if there is one.
    """
    if not limit:
        return
    paths = [Path(path) for path in sort_checkpoints(str(folder), use_mtime=True)]
    kept = {paths[-1], *([] if best is None else [Path(best)])} if paths else set()
    spare = len(paths) - max(limit, len(kept))
    for path in [path for path in paths if path not in kept][: max(spare, 0)]:
        discard(_out_of_sight(path))


def place_in_stream(checkpoint: Path, accumulated: int) -> tuple[int, int]:
    """How many passes over a stream were over, and how many batches of the next one.

    Args:
        checkpoint: Its folder. The `epoch` in it counts a pass that is over as 1, however long it
            was, and in the pass that goes on a step as a share of `max_steps`.
        accumulated: Batches in a step.
    """
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    passes = int(state["epoch"] or 0)
    return passes, round((state["epoch"] - passes) * state["max_steps"]) * accumulated


def discard(folder: Path) -> None:
    """Remove a folder, if it is there.

    Args:
        folder: The folder.
    """
    shutil.rmtree(folder, ignore_errors=True)


def _out_of_sight(folder: Path) -> Path:
    """Where a folder was put aside, under a name that is not a checkpoint's.

    Removing a folder takes time, and half of a checkpoint must not look like one.
    """
    aside = folder.parent / f".{folder.name}.old"
    discard(aside)
    if folder.exists():
        os.replace(folder, aside)
    return aside


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


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and not only on their way."""
    if os.name == "nt":
        return  # a file that is open for reading cannot be waited for there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
