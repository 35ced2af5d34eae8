"""Base classes for modules of code that was written for sentence-transformers.

They have the methods for files that such code calls and overrides. `Module` and `InputModule` are
here; every class of the table is under its own name, made when it is asked for, with the same
methods in front.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from safetensors.torch import load_model
from torch import Tensor, nn

from sentune.errors import ModelFileError, SettingError
from sentune.files import layout
from sentune.files.layout import ModuleType
from sentune.files.modules import build as building
from sentune.files.modules import foreign_util, subclass
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.folders import weights
from sentune.folders.code import Code
from sentune.folders.folder import read_json, write_json
from sentune.folders.names import SAFETENSORS
from sentune.models import base
from sentune.types import Features, Text

T = TypeVar("T", bound="Files")

_OLD_NAMES = ("Asym",)
__all__ = ["InputModule", "Module", *layout.MODULES, *_OLD_NAMES]


class Files:
    """The methods of a module for its files.

    Attributes:
        config_keys: Names of attributes that are kept in its file, as arguments of its constructor.
        config_key_renames: Older name of an argument -> name.
        config_file_name: Name of that file.
    """

    config_keys: ClassVar[Sequence[str]] = []
    config_key_renames: ClassVar[dict[str, str]] = {}
    config_file_name: str

    load_file_path = staticmethod(foreign_util.load_file_path)
    load_dir_path = staticmethod(foreign_util.load_dir_path)

    @classmethod
    def load(
        cls: type[T],
        model_name_or_path: str,
        subfolder: str = "",
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> T:
        """A module of the settings in its file; and with its weights, if no subclass loads them.

        Args:
            model_name_or_path: The model's folder; while a model is loaded, also an id on the Hub.
            subfolder: The module's folder in it.
            init_defaults: Arguments for the constructor that the file may lack.
            **kwargs: `revision` is read, the rest is for subclasses.
        """
        access = {"revision": kwargs.get("revision")}
        config = cls.load_config(model_name_or_path, subfolder, **access)
        module: Any = cls(**{**(init_defaults or {}), **config})
        is_all = cls.load.__func__ is Files.load.__func__  # type: ignore[attr-defined]
        folder = foreign_util.folder_of(model_name_or_path, subfolder, **access)
        if is_all and module.state_dict() and weights.read(folder) is not None:
            cls.load_torch_weights(model_name_or_path, subfolder, module, **access)
        return module

    @classmethod
    def load_config(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        config_filename: str | None = None,
        **access: Any,
    ) -> dict[str, Any]:
        """What a module's file holds; nothing if it is missing.

        Args:
            model_name_or_path: As for `load`.
            subfolder: As for `load`.
            config_filename: The file; None for the one of the class.
            **access: As in `load_file_path`.
        """
        name = config_filename or cls.config_file_name
        path = foreign_util.load_file_path(model_name_or_path, name, subfolder, **access)
        config = {} if path is None else read_json(Path(path), dict)
        for older, key in cls.config_key_renames.items():
            if older in config and key not in config:
                config[key] = config.pop(older)
        return config

    @classmethod
    def load_torch_weights(
        cls, model_name_or_path: str, subfolder: str = "", model: Any = None, **access: Any
    ) -> Any:
        """The module with the weights in its folder; the weights if no module is given.

        Args:
            model_name_or_path: As for `load`.
            subfolder: As for `load`.
            model: The module.
            **access: As in `load_file_path`.

        Raises:
            ModelFileError: If there are none, or they are damaged or do not fit.
        """
        folder = foreign_util.folder_of(model_name_or_path, subfolder, access.get("revision"))
        tensors, path = weights.need(folder)
        if model is None:
            return tensors
        try:
            if path.name != SAFETENSORS:
                model.load_state_dict(tensors)
            elif wrong := [name for names in load_model(model, path) for name in names]:
                raise RuntimeError(f"missing or unknown tensors {sorted(wrong)}")
        except RuntimeError as error:
            raise ModelFileError(f"{path} does not fit {type(model).__name__}: {error}") from error
        return model

    def get_config_dict(self) -> dict[str, Any]:
        """Arguments of the constructor that are kept: the attributes in `config_keys`."""
        return {key: getattr(self, key) for key in self.config_keys}

    def settings(self) -> dict[str, Any]:
        """As `get_config_dict`, under sentune's name."""
        return self.get_config_dict()

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **_: Any) -> None:
        """Write settings and weights.

        Args:
            output_path: The module's folder.
            *args: Not read.
            safe_serialization: Whether weights go to safetensors.
            **_: Not read.
        """
        self.save_config(output_path)
        if isinstance(self, nn.Module) and self.state_dict():
            self.save_torch_weights(output_path, safe_serialization)

    def save_config(self, output_path: str, filename: str | None = None) -> None:
        """Write the settings.

        Args:
            output_path: The module's folder.
            filename: The file; None for the one of the class.
        """
        write_json(Path(output_path) / (filename or self.config_file_name), self.get_config_dict())

    def save_torch_weights(self, output_path: str, safe_serialization: bool = True) -> None:
        """Write the weights.

        Args:
            output_path: The module's folder.
            safe_serialization: Whether as safetensors.
        """
        tensors: dict[str, Tensor] = self.state_dict()  # type: ignore[attr-defined]
        weights.write(tensors, Path(output_path), safe=safe_serialization)

    def on_model_ready(self, model: Any) -> None:
        """For subclasses that call it of their base; sentune does not.

        Args:
            model: The model that the module is part of.
        """


class Module(Files, base.Module):
    """A module of its own."""


class InputModule(Files, base.InputModule):
    """A first module of its own: it turns texts into features."""

    @property
    def modalities(self) -> list[str]:
        """Kinds of inputs that it reads."""
        return ["text"]

    def preprocess(
        self, inputs: Sequence[Text], prompt: str | None = None, **kwargs: Any
    ) -> Features:
        """Tokenised texts; for a subclass that has `tokenize` alone, with a prompt before each.

        Args:
            inputs: The texts.
            prompt: Put before each.
            **kwargs: For `tokenize`.
        """
        if type(self).tokenize is InputModule.tokenize:
            raise NotImplementedError(f"{type(self).__name__} must define preprocess or tokenize")
        texts: Any = [prompt + text for text in inputs] if prompt else inputs  # type: ignore[operator]
        return self.tokenize(texts, **kwargs)

    def tokenize(self, texts: Sequence[Text], **kwargs: Any) -> Features:
        """As `preprocess`, for a subclass that has that alone."""
        return self.preprocess(texts, **kwargs)

    def save_tokenizer(self, output_path: str, **kwargs: Any) -> None:
        """Write the tokenizer, if there is one.

        Args:
            output_path: The module's folder; a file for one of the tokenizers library.
            **kwargs: For the tokenizer's own method.
        """
        _save_tokenizer(self, output_path, **kwargs)


class _OfRow(Files):
    """The methods in front of a class of the table.

    Attributes:
        stands_for: That class.
        row: Its row.
    """

    stands_for: ClassVar[type]
    row: ClassVar[ModuleType]

    @classmethod
    def load(
        cls: type[T],
        model_name_or_path: str,
        subfolder: str = "",
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> T:
        """A module of the files in its folder, weights included.

        Args:
            model_name_or_path: As in `Files.load`.
            subfolder: As in `Files.load`.
            init_defaults: As in `Files.load`.
            **kwargs: `revision`, and `model_kwargs`, `processor_kwargs`, `config_kwargs` for a
                Transformer.
        """
        kind: Any = cls
        row: ModuleType = kind.row
        folder = foreign_util.folder_of(model_name_or_path, subfolder, kwargs.get("revision"))
        how = foreign_util.reading.get()
        if how is None:
            code = Code(folder.path, _Nowhere(), is_trusted=False)
            how = Reading(code, building.build)
        names = ("model_kwargs", "processor_kwargs", "config_kwargs")
        how = foreign_util.options_of(how, **{name: kwargs.get(name) for name in names})
        plan = ModulePlan(row.written_name, row, folder, folder.path, folder.path)
        planned = subclass.planned_as(plan, row, kind, is_trusted=how.code.is_trusted)
        planned = replace(planned, settings={**(init_defaults or {}), **planned.settings})
        made: Any = building.of_kind(planned, row, how, kind)
        return made

    def get_config_dict(self) -> dict[str, Any]:
        """Settings of the class, and the attributes that a subclass adds to `config_keys`."""
        own: dict[str, Any] = self.stands_for.settings(self)  # type: ignore[attr-defined]
        more = [key for key in self.config_keys if key not in own]
        return {**own, **{key: getattr(self, key) for key in more if hasattr(self, key)}}

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **_: Any) -> None:
        """Write all that a later load needs.

        Args:
            output_path: The module's folder.
            *args: Not read.
            safe_serialization: Whether weights go to safetensors.
            **_: Not read.
        """
        how = Writing(Path(output_path), building.write, safe_serialization)
        subclass.write(self.row, self, Path(output_path), how)  # type: ignore[arg-type]

    def save_tokenizer(self, output_path: str, **kwargs: Any) -> None:
        """As `InputModule.save_tokenizer`."""
        _save_tokenizer(self, output_path, **kwargs)


class _OfTransformer(_OfRow):
    """Also the newer names of a Transformer's parts."""

    @property
    def model(self) -> Any:
        """The encoder."""
        return self.auto_model  # type: ignore[attr-defined]

    @property
    def processor(self) -> Any:
        """The tokenizer."""
        return self.tokenizer  # type: ignore[attr-defined]


class _Nowhere:
    """In place of the Hub, where a module is loaded outside of a model."""

    token = revision = cache_folder = None
    local_files_only = True

    def fetch(self, name: str, *, with_code: bool = False) -> Any:
        """No model.

        Raises:
            SettingError: Always.
        """
        raise SettingError(f"{name!r} is no folder; name one, or download the model before")

    def commit(self, repo_id: str) -> str | None:
        """No commit."""

    def at(self, revision: str | None) -> _Nowhere:
        """The same."""
        return self


def __getattr__(name: str) -> Any:
    """A class of the table with the methods in front, made once."""
    row = layout.MODULES.get("Router" if name in _OLD_NAMES else name)
    if row is None or not row.home.startswith("sentune."):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != row.name:
        made = __getattr__(row.name)
    else:
        own, front = row.load_class(), _OfTransformer if name == "Transformer" else _OfRow
        keys = [key for key in inspect.signature(own).parameters if key in row.keys]
        said = {"stands_for": own, "row": row, "config_keys": keys, "__module__": __name__}
        made = type(name, (front, own), {**said, "__doc__": own.__doc__})
    return globals().setdefault(name, made)


def _save_tokenizer(module: Any, output_path: str, **kwargs: Any) -> None:
    tokenizer = getattr(module, "tokenizer", None)
    save = getattr(tokenizer, "save_pretrained", None) or getattr(tokenizer, "save", None)
    if save is not None:
        save(output_path, **kwargs)
