"""What the readers and writers of modules are given besides the module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sentune.files.plan import ModulePlan
from sentune.folders.code import Code


@dataclass(frozen=True)
class Reading:
    """How the modules of one model are read.

    Args:
        code: Which code of the model's own may run.
        build: Builds a module that is part of another one.
        model_kwargs: For the encoder's `from_pretrained`.
        processor_kwargs: For the tokenizer's `from_pretrained`.
        config_kwargs: For the configuration's `from_pretrained`.
    """

    code: Code
    build: Callable[[ModulePlan, Reading], nn.Module]
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    processor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    config_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Writing:
    """How the modules of one model are written.

    Args:
        root: The model's folder.
        write: Writes a module that is part of another one into a folder; gives its type name.
        safe: Whether weights go to safetensors; else to a pickle.
    """

    root: Path
    write: Callable[[nn.Module, Path, Writing], str]
    safe: bool = True
