"""Adapters such as LoRA on a model's encoder, through transformers' own support of peft.

Each function is a method of every model, under its own name.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sentune.errors import InputTypeError, SettingError
from sentune.files.modules.adapter_base import need_peft
from sentune.files.modules.adapters import has_adapter, is_wrapped


def add_adapter(model: Any, adapter_config: Any, adapter_name: str | None = None) -> None:
    """Add a new adapter to the encoder and make it the active one; all else in it is frozen.

    `adapter_config` is a `peft.PeftConfig`; the name is "default" if none is given.

    Raises:
        MissingDependencyError: If peft is not installed, or transformers needs a newer one.
        SettingError: If the encoder is not of the transformers library, or the name is taken.

    Example:
        >>> from peft import LoraConfig  # doctest: +SKIP
        >>> model.add_adapter(LoraConfig(r=8, target_modules=["query"]))  # doctest: +SKIP
    """
    encoder = _encoder(model)
    peft = need_peft()
    if not isinstance(adapter_config, peft.PeftConfig):
        raise InputTypeError(
            f"adapter_config must be a peft.PeftConfig, got {type(adapter_config).__name__}; "
            "make one by peft.LoraConfig(r=8)"
        )
    name = adapter_name or "default"
    if has_adapter(encoder) and name in encoder.peft_config:
        raise SettingError(f"there is an adapter {name!r} already; give another adapter_name")
    encoder.add_adapter(adapter_config, name)


def load_adapter(model: Any, peft_model_id: Any = None, *args: Any, **kwargs: Any) -> None:
    """Add an adapter from a folder or from the Hub; it is frozen unless `is_trainable=True`.

    The other arguments are those of the encoder's method: `adapter_name`, `token` ...
    """
    encoder = _encoder(model)
    need_peft()
    encoder.load_adapter(peft_model_id, *args, **kwargs)


def set_adapter(model: Any, adapter_name: str | list[str]) -> None:
    """Choose the adapters, by one name or a list, that compute and are trained; no others do."""
    _with_adapter(model, adapter_name).set_adapter(adapter_name)


def enable_adapters(model: Any) -> None:
    """Let the active adapters compute again."""
    _with_adapter(model).enable_adapters()


def disable_adapters(model: Any) -> None:
    """Compute as if there were no adapters, until `enable_adapters`."""
    _with_adapter(model).disable_adapters()


def active_adapters(model: Any) -> list[str]:
    """Names of the adapters that compute."""
    return list(_with_adapter(model).active_adapters())


def get_adapter_state_dict(
    model: Any, adapter_name: str | None = None, *args: Any, **kwargs: Any
) -> dict[str, Tensor]:
    """The tensors of an adapter, None for the active one; as the encoder's method."""
    encoder = _with_adapter(model, adapter_name)
    return encoder.get_adapter_state_dict(adapter_name, *args, **kwargs)


def delete_adapter(model: Any, adapter_names: str | list[str]) -> None:
    """Remove one adapter, or each in a list."""
    _with_adapter(model, adapter_names).delete_adapter(adapter_names)


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
