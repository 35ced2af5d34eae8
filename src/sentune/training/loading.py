"""The weights of a checkpoint -> the model in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentune.errors import ModelFileError, TrainingError
from sentune.files.restore import restore


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
