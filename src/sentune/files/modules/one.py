"""One module from its folder, and into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune.errors import HubError, ModelFileError
from sentune.files import keys, layout, weights
from sentune.files.folder import ModelFolder, write_json
from sentune.files.layout import ModuleType
from sentune.files.modules import custom, router, transformer, words
from sentune.files.modules.custom import Code


@dataclass(frozen=True)
class Reader:
    """How the modules of one model are read.

    Args:
        code: Which code of the model's own may run.
        model_kwargs: For the encoder's `from_pretrained`.
        processor_kwargs: For the tokenizer's `from_pretrained`.
        config_kwargs: For the configuration's `from_pretrained`.
    """

    code: Code
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    processor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    config_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def read(self, type_name: str, folder: ModelFolder, named_in: Path) -> nn.Module:
        """A module.

        Args:
            type_name: Its type as a file names it.
            folder: Its folder.
            named_in: That file, for the error.

        Raises:
            ModelFileError: If its files are missing or damaged, or its type is not known.
        """
        row = layout.type_named(type_name)
        if row is None:
            return custom.read(type_name, folder, self.code, named_in)
        settings, path = settings_of(row, folder)
        try:
            return self._build(row, settings, folder, path)
        except (ModelFileError, HubError, ImportError):
            raise
        except Exception as error:  # whatever a damaged or hostile file sets off in a constructor
            raise ModelFileError(f"{path}: {row.name} cannot be built from it: {error}") from error

    def _build(
        self, row: ModuleType, settings: dict[str, Any], folder: ModelFolder, path: Path
    ) -> nn.Module:
        match row.name:
            case "Transformer":
                options = (self.model_kwargs, self.processor_kwargs, self.config_kwargs)
                return transformer.read(row, settings, folder, path, self.code, options)
            case "StaticEmbedding":
                return words.read_static(row, folder)
            case "WordEmbeddings":
                return words.read_embeddings(row, settings, folder, path)
            case "Router":
                return router.read(row, settings, folder, path, self.read)
            case _:
                return _read_plain(row, settings, folder)


def settings_of(row: ModuleType, folder: ModelFolder) -> tuple[dict[str, Any], Path]:
    """The settings in a module's file, checked, under the names of today; and the file.

    Args:
        row: What kind of module it is.
        folder: Its folder.

    Raises:
        ModelFileError: Naming the file and the key that is missing, wrong or not known.
    """
    if row.file is None:
        return {}, folder.path
    names = (row.file, *row.older_files)
    name = next((name for name in names if folder.file(name) is not None), row.file)
    path = folder.path / name
    config = folder.read_json(name, dict) if row.is_lenient else folder.need_json(name, dict)
    settings = layout.settings_in(row, config or {}, path)
    if row.name in ("Transformer", "Router"):  # more than settings; they check the rest themselves
        return settings, path
    if not row.is_lenient:
        keys.refuse_unknown(settings, row.keys, path)
    return {key: value for key, value in settings.items() if key in row.keys}, path


def write(module: nn.Module, folder: Path, root: Path, *, safe: bool) -> str:
    """Write a module into its folder; gives the type name for the file that lists it.

    Args:
        module: The module.
        folder: Where to; it is there and empty, or the model's own folder.
        root: The model's own folder.
        safe: Whether weights go to safetensors; else to a pickle.
    """
    row = layout.type_of(module)
    if row is None:
        return custom.write(module, folder, root, safe=safe)
    writers: dict[str, Callable[[], None]] = {
        "Transformer": lambda: transformer.write(row, module, folder, safe=safe),
        "StaticEmbedding": lambda: words.write_static(module, folder, safe=safe),
        "WordEmbeddings": lambda: words.write_embeddings(row, module, folder, safe=safe),
        "Router": lambda: router.write(
            row, module, folder, lambda child, sub: write(child, sub, root, safe=safe)
        ),
    }
    writers.get(row.name, lambda: _write_plain(row, module, folder, safe=safe))()
    return row.written_name


def _read_plain(row: ModuleType, settings: dict[str, Any], folder: ModelFolder) -> nn.Module:
    if row.weights == "yes":
        # Sizes cost nothing on "meta"; storage comes with the tensors, if they have those sizes.
        with torch.device("meta"):
            module = row.load_class()(**settings)
        weights.put(module, *weights.need(folder))
        return module
    module = row.load_class()(**settings)
    found = weights.read(folder) if row.weights == "maybe" else None
    if found is not None:
        weights.put(module, *found)
    return module


def _write_plain(row: ModuleType, module: nn.Module, folder: Path, *, safe: bool) -> None:
    config = layout.config_of(row, module.settings())  # type: ignore[operator]
    if row.file is not None and (config or not row.is_lenient):
        write_json(folder / row.file, config)
    if row.weights != "no":
        weights.write(module.state_dict(), folder, safe=safe)
