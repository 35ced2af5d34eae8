"""What the readers and writers of modules are given besides the module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentune.folders.source import Code


@dataclass(frozen=True)
class Reading:
    """How the modules of one model are read."""

    code: Code  # which code of the model's own may run
    # For `from_pretrained` of the encoder, the tokenizer and the configuration.
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    processor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    config_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Writing:
    """How the modules of one model are written."""

    root: Path  # the model's folder
    safe: bool = True  # whether weights go to safetensors; else to a pickle
