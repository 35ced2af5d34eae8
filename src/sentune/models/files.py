"""The methods of a module for its files, as code that derives from `Module` calls and overrides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeVar

from safetensors.torch import load_model
from torch import nn

from sentune._lazy import from_higher_layer
from sentune.errors import ModelFileError
from sentune.folders import weights
from sentune.folders.folder import ModelFolder, read_json, write_json
from sentune.folders.names import SAFETENSORS
from sentune.folders.source import source_folder
from sentune.hub.fetch import Access

T = TypeVar("T", bound="Files")


def load_file_path(
    model_name_or_path: str,
    filename: str,
    subfolder: str = "",
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> str | None:
    """The path of a file of a model; None if there is no such file.

    Args:
        model_name_or_path: A folder, or an id on the Hugging Face Hub.
        filename: The file, seen from the subfolder.
        subfolder: A folder in that of the model.
        token: Access token for the Hub.
        cache_folder: Where downloads are kept.
        revision: Branch, tag or commit on the Hub.
        local_files_only: Never ask the Hub.

    Raises:
        ModelFileError: If the path leads out of the folder.
        HubError: If the model cannot be had from the Hub.
    """
    access = Access(token, revision, cache_folder, local_files_only)
    folder, path = _folder(model_name_or_path, subfolder, access), PurePosixPath(filename)
    found = folder.sub(str(path.parent), folder.path).file(path.name)
    return None if found is None else str(found)


def load_dir_path(
    model_name_or_path: str,
    subfolder: str = "",
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> str | None:
    """The path of a folder of a model; None if there is none. Arguments as for `load_file_path`."""
    access = Access(token, revision, cache_folder, local_files_only)
    folder = _folder(model_name_or_path, subfolder, access)
    return str(folder.path) if folder.exists() else None


class Files:
    """The methods of a module for its files.

    Attributes:
        config_keys: Names of attributes that are kept in its file, as arguments of its constructor.
        config_key_renames: Older name of an argument -> name.
        config_file_name: Name of that file.
    """

    config_keys: ClassVar[Sequence[str]] = []
    config_key_renames: ClassVar[dict[str, str]] = {}
    config_file_name: ClassVar[str] = "config.json"

    load_file_path = staticmethod(load_file_path)
    load_dir_path = staticmethod(load_dir_path)

    @classmethod
    def load(
        cls: type[T],
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> T:
        """A module of the settings and the weights in its folder.

        Args:
            model_name_or_path: The model's folder, or its id on the Hub.
            subfolder: The module's folder in it.
            token: As for `load_file_path`, and so are the next three.
            cache_folder: Where downloads are kept.
            revision: Branch, tag or commit.
            local_files_only: Never ask the Hub.
            init_defaults: Arguments for the constructor that the file may lack.
            **kwargs: For a Transformer `trust_remote_code`, `model_kwargs`, `processor_kwargs` and
                `config_kwargs`; the rest is for subclasses.

        Raises:
            ModelFileError: If files are missing or damaged.
            HubError: If the model cannot be had from the Hub.
        """
        access = Access(token, revision, cache_folder, local_files_only)
        folder = _folder(model_name_or_path, subfolder, access)
        by_table = from_higher_layer("sentune.files.modules.alone", "load")
        found: T | None = by_table(cls, folder, access, init_defaults or {}, kwargs)
        if found is not None:
            return found
        config = cls.load_config(str(folder.path))
        module: Any = cls(**{**(init_defaults or {}), **config})
        is_all = cls.load.__func__ is Files.load.__func__  # type: ignore[attr-defined]
        saves_all = type(module).save is Files.save
        if is_all and module.state_dict() and (saves_all or weights.read(folder) is not None):
            cls.load_torch_weights(str(folder.path), model=module)
        return module

    @classmethod
    def load_config(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        config_filename: str | None = None,
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> dict[str, Any]:
        """What a module's file holds, by the names of today; nothing if it is missing.

        Args:
            model_name_or_path: As for `load`, and so are all others but one.
            subfolder: The module's folder.
            config_filename: The file; None for the one of the class.
            token: Access token.
            cache_folder: Where downloads are kept.
            revision: Branch, tag or commit.
            local_files_only: Never ask the Hub.
        """
        name = config_filename or cls.config_file_name
        access = (token, cache_folder, revision, local_files_only)
        path = load_file_path(model_name_or_path, name, subfolder, *access)
        config = {} if path is None else read_json(Path(path), dict)
        for older, key in cls.config_key_renames.items():
            if older in config and key not in config:
                config[key] = config.pop(older)
        return config

    @classmethod
    def load_torch_weights(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        model: Any = None,
    ) -> Any:
        """The module with the weights in its folder; the weights alone if no module is given.

        Args:
            model_name_or_path: As for `load`, and so are all others but one.
            subfolder: The module's folder.
            token: Access token.
            cache_folder: Where downloads are kept.
            revision: Branch, tag or commit.
            local_files_only: Never ask the Hub.
            model: The module.

        Raises:
            ModelFileError: If there are no weights, or they are damaged or do not fit.
        """
        access = Access(token, revision, cache_folder, local_files_only)
        tensors, path = weights.need(_folder(model_name_or_path, subfolder, access))
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

    def settings(self) -> dict[str, Any]:
        """JSON-able keyword arguments that build an equal module, without its weights."""
        return {key: getattr(self, key) for key in _keys(type(self))}

    def get_config_dict(self) -> dict[str, Any]:
        """What is kept in its file: `settings()`, and the `config_keys` that a subclass adds."""
        own = self.settings()
        teller: Any = next(kind for kind in type(self).__mro__ if "settings" in vars(kind))
        added = [key for key in _keys(type(self), teller) if key not in {*own, *teller.config_keys}]
        return {**own, **{key: getattr(self, key) for key in added}}

    def save(
        self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any
    ) -> None:
        """Write settings and weights.

        Args:
            output_path: The module's folder.
            *args: For subclasses.
            safe_serialization: Whether weights go to safetensors; else to a pickle.
            **kwargs: For subclasses.
        """
        by_table = from_higher_layer("sentune.files.modules.alone", "save")
        if by_table(self, Path(output_path), safe_serialization):
            return
        self.save_config(output_path)
        if isinstance(self, nn.Module) and self.state_dict():
            self.save_torch_weights(output_path, safe_serialization)

    def save_config(self, output_path: str, filename: str | None = None) -> None:
        """Write the settings.

        Args:
            output_path: The module's folder.
            filename: The file; None for the one of the class.
        """
        Path(output_path).mkdir(parents=True, exist_ok=True)
        write_json(Path(output_path) / (filename or self.config_file_name), self.get_config_dict())

    def save_torch_weights(self, output_path: str, safe_serialization: bool = True) -> None:
        """Write the weights.

        Args:
            output_path: The module's folder.
            safe_serialization: Whether as safetensors; else as a pickle.
        """
        Path(output_path).mkdir(parents=True, exist_ok=True)
        tensors: Any = self.state_dict()  # type: ignore[attr-defined]
        weights.write(tensors, Path(output_path), safe=safe_serialization)


def _keys(kind: type, above: type | None = None) -> dict[str, None]:
    """The `config_keys` of a class, and of those above it up to one, in order."""
    kinds = list(takewhile(lambda one: one is not above, kind.__mro__))
    every = (key for one in reversed(kinds) for key in vars(one).get("config_keys", ()))
    return dict.fromkeys(every)


def _folder(name: str, subfolder: str, access: Access) -> ModelFolder:
    """A folder of a model.

    Raises:
        ModelFileError: If it leads out of the model.
    """
    model = source_folder(name, access)
    return model.sub(subfolder, model.path) if subfolder else model
