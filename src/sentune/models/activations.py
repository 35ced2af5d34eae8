"""Activations: of a name in a file, and back to a name that says all of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.errors import SettingError, UntrustedCodeError

Activation: TypeAlias = Callable[[Tensor], Tensor]
TANH = "torch.nn.modules.activation.Tanh"


def made(given: Activation | type | str | None, **arguments: Any) -> Activation:
    """The activation itself, of a callable, a class, a dotted name in `torch.nn`, or None."""
    if given is None:
        return nn.Identity()
    if callable(given) and not isinstance(given, type):
        return given
    # A name comes from a file as often as not: only torch.nn is searched, and nothing is imported.
    name = given if isinstance(given, str) else name_of(given)
    found = given if isinstance(given, type) else None
    if name.startswith("torch.nn."):
        found = getattr(nn, name.rpartition(".")[2], None)
    if isinstance(found, type) and issubclass(found, nn.Module):
        try:
            return found(**arguments)
        except TypeError:
            pass  # a layer that needs other arguments is no activation
    with_them = f" with {arguments}" if arguments else ""
    raise SettingError(
        "an activation must be a callable, None, or the name of one in torch.nn, such as "
        f"{TANH!r}; got {given!r}{with_them}"
    )


def read(name: str | None, arguments: Mapping[str, Any], *, is_trusted: bool) -> Activation:
    """The activation that a file names; code from other packages than torch only if trusted."""
    if name is None or name.startswith("torch.nn."):
        return made(name, **arguments)
    if not is_trusted:
        raise UntrustedCodeError(
            f"the activation {name!r} is not one of torch.nn; if you trust that package, pass "
            "trust_remote_code=True; or give an activation yourself"
        )
    module, _, kind = name.rpartition(".")
    try:
        return made(getattr(import_module(module), kind), **arguments)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(f"there is no activation {name!r}: {error}") from error


def described(activation: Activation) -> tuple[str, dict[str, Any]]:
    """Name and arguments from which `read` makes an equal one; SettingError if there are none."""
    if not isinstance(activation, nn.Module):
        kind = _class_like(activation)
        if kind is None:
            raise SettingError(
                f"the activation {activation!r} cannot be saved: it has no class from which it "
                "could be made again; use a class of torch.nn, or a torch.nn.Module of your own in "
                "an installed package"
            )
        return name_of(kind), {}
    kind, name = type(activation), name_of(type(activation))
    if kind.__module__ == "__main__" or "<" in kind.__qualname__:
        raise SettingError(
            f"the activation {name} cannot be saved: its class cannot be imported by that name; "
            "define it at the top of a module that is installed where the model is loaded"
        )
    arguments = _arguments_of(activation)
    try:
        again = kind(**arguments)
        json.dumps(arguments)
    except Exception as error:  # of whatever the class is
        raise SettingError(
            f"the activation {name} cannot be saved: {kind.__name__}(**{arguments}) fails: {error}"
        ) from error
    if _state_of(again) != _state_of(activation):
        raise SettingError(
            f"the activation {activation} cannot be saved: its constructor's arguments are not all "
            f"attributes of the same name, so that it would come back as {again}"
        )
    return name, arguments


def shown(activation: Activation) -> dict[str, Any]:
    """Name and arguments as settings, also of an activation that cannot be made again."""
    try:
        name, arguments = described(activation)
    except SettingError:
        name, arguments = getattr(activation, "__qualname__", name_of(activation)), {}
    return {"activation_function": name, **({"activation_kwargs": arguments} if arguments else {})}


def name_of(thing: object) -> str:
    """The dotted name of a class, or of an instance's class."""
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"


def _class_like(function: Any) -> type[nn.Module] | None:
    """The activation class of torch that computes what a function of torch does."""
    name = getattr(function, "__name__", "")
    if function not in (getattr(torch, name, None), getattr(F, name, None)):
        return None
    kinds = vars(nn.modules.activation).values()
    return next(
        (
            kind
            for kind in kinds
            if isinstance(kind, type)
            and issubclass(kind, nn.Module)
            and kind.__name__.lower() == name.replace("_", "")
        ),
        None,
    )


def _state_of(activation: nn.Module) -> dict[str, Any]:
    """What an activation keeps besides what every module has."""
    every = nn.Module().__dict__
    return {key: value for key, value in vars(activation).items() if key not in every}


def _arguments_of(activation: nn.Module) -> dict[str, Any]:
    """The constructor's arguments, of attributes of the same names, where not their default."""
    found = {}
    for name, parameter in inspect.signature(type(activation)).parameters.items():
        value = getattr(activation, name, parameter.default)
        if value is not parameter.default and value != parameter.default:
            found[name] = value
    return found
