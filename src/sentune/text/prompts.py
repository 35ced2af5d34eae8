"""Prompt names -> the text that is put before each input."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sentune.errors import SettingError

logger = logging.getLogger(__name__)

QUERY_NAMES = ("query",)
DOCUMENT_NAMES = ("document", "passage", "corpus")


def checked(prompts: Mapping[str, str | None] | None) -> dict[str, str]:
    """The prompts by name, after a check; None in place of a prompt, or of all, counts as none."""
    if prompts is None:
        return {}
    if not isinstance(prompts, Mapping) or not all(
        isinstance(text, (str, type(None))) for text in prompts.values()
    ):
        raise SettingError(
            f"prompts must be a dict of name -> text, got {prompts!r}; write prompts="
            '{"query": "query: ", "document": "passage: "}'
        )
    return {name: text or "" for name, text in prompts.items()}


def joined(stored: Mapping[str, str], given: Mapping[str, str | None] | None) -> dict[str, str]:
    """The prompts of a model: those given, before those of its files, before the usual ones.

    None given for a prompt leaves it to the files.
    """
    known = checked(given)
    own = {name: text for name, text in known.items() if given and given[name] is not None}
    return {"query": "", "document": "", **known, **stored, **own}


def resolve(
    prompts: Mapping[str, str],
    prompt: str | None = None,
    prompt_name: str | None = None,
    default_name: str | None = None,
) -> str | None:
    """The prompt to use: the one given, else the one named, else the default, else None."""
    if prompt is not None:
        if not isinstance(prompt, str):
            raise SettingError(f"prompt must be a text, got {prompt!r}")
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
