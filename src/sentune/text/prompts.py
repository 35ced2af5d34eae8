"""Prompt names -> the text that is put before each input."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sentune.errors import SettingError

logger = logging.getLogger(__name__)

QUERY_NAMES = ("query",)
DOCUMENT_NAMES = ("document", "passage", "corpus")


def resolve(
    prompts: Mapping[str, str],
    prompt: str | None = None,
    prompt_name: str | None = None,
    default_name: str | None = None,
) -> str | None:
    """The prompt to use: the one given, else the named one, else the default, else None.

    Args:
        prompts: Name -> prompt, as the model has them.
        prompt: A prompt given by the caller; wins over a name.
        prompt_name: Name of a prompt of the model.
        default_name: Name used when the caller gave neither.

    Raises:
        SettingError: If a name is not among the model's prompts.
    """
    if prompt is not None:
        if prompt_name is not None:
            logger.warning(
                "both prompt and prompt_name were given; prompt_name=%r is not used", prompt_name
            )
        return prompt
    name = prompt_name if prompt_name is not None else default_name
    if name is None:
        return None
    if name not in prompts:
        raise SettingError(
            f"prompt_name={name!r} is not among the model's prompts {sorted(prompts)}; "
            "use one of them, pass prompt=..., or add it: model.prompts[name] = ..."
        )
    return prompts[name]


def first_name(prompts: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The first of the names that the model has a prompt for."""
    return next((name for name in names if name in prompts), None)
