"""Adapters such as LoRA on a model's encoder, through transformers' own support of peft."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from sentune.errors import InputTypeError, SettingError
from sentune.files.modules.adapter_base import need_peft
from sentune.files.modules.adapters import has_adapter, is_wrapped


def peft_wrapper(func: Callable[..., Any]) -> Callable[..., Any]:
    """The encoder's method of the same name, as a method of the model; the given one only names it.

    It raises a `SettingError` if the encoder cannot have adapters.
    """

    @wraps(func)
    def of_encoder(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.check_peft_compatible_model()
        return getattr(self.transformers_model, func.__name__)(*args, **kwargs)

    return of_encoder


class PeftAdapterMixin:
    """The methods of a model for adapters of its encoder."""

    transformers_model: Any

    def has_peft_compatible_model(self) -> bool:
        """Whether the model has an encoder of the transformers library, which takes adapters."""
        encoder = self.transformers_model
        return hasattr(encoder, "add_adapter") and not is_wrapped(encoder)

    def check_peft_compatible_model(self) -> None:
        """Raise a `SettingError` if the model cannot have adapters."""
        _encoder(self)

    def add_adapter(
        self, adapter_config: Any, adapter_name: str | None = None, **kwargs: Any
    ) -> None:
        """Add a new adapter to the encoder and make it the active one; all else in it is frozen.

        Args:
            adapter_config: A `peft.PeftConfig`.
            adapter_name: Its name; "default" if none is given.
            **kwargs: For the encoder's method.

        Raises:
            InputTypeError: If the configuration is of another kind.
            MissingDependencyError: If peft is not installed, or transformers needs a newer one.
            SettingError: If the encoder is not of the transformers library, or the name is taken.

        Example:
            >>> from peft import LoraConfig  # doctest: +SKIP
            >>> model.add_adapter(LoraConfig(r=8, target_modules=["query"]))  # doctest: +SKIP
        """
        encoder = _encoder(self)
        peft = need_peft()
        if not isinstance(adapter_config, peft.PeftConfig):
            raise InputTypeError(
                f"adapter_config must be a peft.PeftConfig, got {type(adapter_config).__name__}; "
                "make one by peft.LoraConfig(r=8)"
            )
        name = adapter_name or "default"
        if has_adapter(encoder) and name in encoder.peft_config:
            raise SettingError(f"there is an adapter {name!r} already; give another adapter_name")
        encoder.add_adapter(adapter_config, name, **kwargs)

    def load_adapter(self, peft_model_id: Any = None, *args: Any, **kwargs: Any) -> None:
        """Add an adapter from a folder or from the Hub; it is frozen unless `is_trainable=True`.

        The other arguments are those of the encoder's method: `adapter_name`, `token` ...
        """
        encoder = _encoder(self)
        need_peft()
        encoder.load_adapter(peft_model_id, *args, **kwargs)

    def set_adapter(self, adapter_name: str | list[str], **kwargs: Any) -> None:
        """Choose the adapters, by one name or a list, that compute and are trained; no others do.

        Other arguments are for the encoder's method.
        """
        _with_adapter(self, adapter_name).set_adapter(adapter_name, **kwargs)

    def enable_adapters(self) -> None:
        """Let the active adapters compute again."""
        _with_adapter(self).enable_adapters()

    def disable_adapters(self) -> None:
        """Compute as if there were no adapters, until `enable_adapters`."""
        _with_adapter(self).disable_adapters()

    def active_adapters(self) -> list[str]:
        """Names of the adapters that compute."""
        return list(_with_adapter(self).active_adapters())

    def active_adapter(self) -> str:
        """Name of the first adapter that computes; `active_adapters` names all."""
        return self.active_adapters()[0]

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        """The tensors of an adapter, None for the active one; as the encoder's method."""
        encoder = _with_adapter(self, adapter_name)
        return encoder.get_adapter_state_dict(adapter_name, *args, **kwargs)

    def delete_adapter(self, adapter_names: str | list[str], **kwargs: Any) -> None:
        """Remove one adapter, or each in a list. Other arguments are for the encoder's method."""
        _with_adapter(self, adapter_names).delete_adapter(adapter_names, **kwargs)


def _encoder(model: Any) -> Any:
    """The transformers encoder of a model."""
    encoder = model.transformers_model
    if encoder is not None and is_wrapped(encoder):
        raise SettingError(
            "the encoder was given to peft.get_peft_model; its adapters are managed by the methods "
            "of model[0].auto_model"
        )
    if not hasattr(encoder, "add_adapter"):
        modules = [type(module).__name__ for module in model]
        raise SettingError(
            f"adapters need a Transformer, an encoder of the transformers library, and {modules} "
            "has none"
        )
    return encoder


def _with_adapter(model: Any, names: str | list[str] | None = None) -> Any:
    """The encoder, which has adapters and among them the named ones."""
    encoder = _encoder(model)
    need_peft()
    if not has_adapter(encoder):
        raise SettingError("the model has no adapter; add one by model.add_adapter(LoraConfig())")
    known = list(encoder.peft_config)
    wanted = [names] if isinstance(names, str) else names or []
    if unknown := [name for name in wanted if name not in known]:
        raise SettingError(f"there is no adapter {unknown[0]!r}; there is {known}")
    return encoder
