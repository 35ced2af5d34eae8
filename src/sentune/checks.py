"""One wording per check of an argument: names, sizes, options, functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

from sentune.errors import SettingError

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_LIKENESS = 0.6  # how like a word must be to be meant


def accepts_old_names(
    *, old_order: Sequence[str] = (), without_effect: Sequence[str] = (), **renamed: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator under which a function also takes arguments by their old names.

    Old code and old files use them. Where both names are given, the new one counts.

    Args:
        old_order: Names of what old code gives behind the last positional argument of today.
        without_effect: Names that are taken and not read.
        **renamed: Old name -> new name.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters.values()
        places = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)

        @functools.wraps(function)
        def with_old_names(*args: Any, **kwargs: Any) -> R:
            if old_order:
                for name, value in zip(old_order, args[places:], strict=False):
                    kwargs.setdefault(name, value)
                args = args[:places]
            for old in without_effect:
                kwargs.pop(old, None)
            for old, new in renamed.items():
                if old in kwargs:
                    value = kwargs.pop(old)
                    kwargs.setdefault(new, value)
            return function(*args, **kwargs)

        return with_old_names

    return decorate


def with_arguments_of(other: Callable[..., Any], but: str | None = None) -> Callable[[F], F]:
    """A decorator under which a function shows the arguments of another, to which it gives them.

    Args:
        other: That function.
        but: Name of one of its arguments that this one does not have.
    """

    def decorate(function: F) -> F:
        shown = inspect.signature(other)
        shown = shown.replace(parameters=[p for p in shown.parameters.values() if p.name != but])
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return decorate


def check_positive(**sizes: int) -> None:
    """Raise unless every size is a whole number above zero.

    Raises:
        SettingError: Naming the first argument that is not.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise SettingError(f"{name} must be a whole number of at least 1, got {size!r}")


def check_sizes(**sizes: int | None) -> None:
    """As `check_positive`, but None passes: it stands for no limit.

    Raises:
        SettingError: Naming the first argument that is neither.
    """
    check_positive(**{name: size for name, size in sizes.items() if size is not None})


def check_share(**shares: float) -> None:
    """Raise unless every value lies between 0 and 1.

    Raises:
        SettingError: Naming the first argument that does not.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise SettingError(f"{name} must lie between 0 and 1, got {share!r}")


def one_of(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """The value, after checking that it is one of those allowed.

    Raises:
        SettingError: If it is not.
    """
    if value not in allowed:
        raise SettingError(f"{name} must be one of {list(allowed)}, got {value!r}")
    return value


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Raise unless there is something of that name.

    Raises:
        SettingError: With the nearest name, or all there are if none is near.
    """
    known = list(known)
    if name not in known:
        near = nearest(name, known) or f"; there are {', '.join(known)}"
        raise SettingError(f"there is no {what} {name!r}{near}")


def nearest(word: Any, known: Iterable[str]) -> str:
    """The end of an error: a question that names the known word nearest to one; "" if none is."""
    near = near_word(word, known)
    return "" if near is None else f"; did you mean {near}?"


def near_word(word: Any, known: Iterable[str]) -> str | None:
    """The known word nearest to one; None if none is near."""
    plain = {_plain(one): one for one in known}
    found = get_close_matches(_plain(word), plain, n=1, cutoff=_LIKENESS)
    return plain[found[0]] if found else None


def _plain(word: Any) -> str:
    return str(word).lower().replace("-", "_")


def a_function(name: str, value: Any) -> Any:
    """The value, after checking that it can be called.

    Raises:
        SettingError: If it cannot, as the name of a function in place of the function.
    """
    if not callable(value):
        raise SettingError(
            f"{name} must be a function, got {value!r}; pass the function itself, as util.cos_sim "
            "or losses.TripletDistanceMetric.COSINE"
        )
    return value
