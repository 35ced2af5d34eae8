"""Decorators for methods of classes that are derived from this library's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def save_to_hub_args_decorator(func: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method `save_to_hub(self, repo_id, organization, token, ...)` be called as of old.

    Then the first argument was `repo_name`, and there was no `token` among those by position.
    """

    @wraps(func)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        older = kwargs.pop("repo_name", None)
        if older:
            kwargs.setdefault("repo_id", older)
        if len(args) > 1:
            args = (*args[:2], None, *args[2:])
        return func(self, *args, **kwargs)

    return called
