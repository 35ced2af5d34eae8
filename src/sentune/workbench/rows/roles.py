"""Who searches and who is found: the roles of columns, and the prompts and routes that follow.

A model is measured by `encode_query`, `encode_document` or `encode`, so it is trained with what
these put before the texts, and through the routes that they take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sentune.data.columns import input_columns, label_column
from sentune.data.forms import NEGATIVES, PAIR, TEACHER_MARGINS, TEACHER_SCORES, TEXT, TRIPLET
from sentune.models.router import Router
from sentune.text import prompts as prompting
from sentune.workbench.rows.forms_turned import AS_IT_IS, TURNS

# Forms whose first column is a query, and the others documents.
SEARCHES = (PAIR.name, TRIPLET.name, NEGATIVES.name, TEACHER_SCORES.name, TEACHER_MARGINS.name)

TASKS = {"query": "query", "document": "document", "text": None}
_NAMES = {"query": prompting.QUERY_NAMES, "document": prompting.DOCUMENT_NAMES, "text": ()}


def roles_of(dataset: Any, data_as: str = AS_IT_IS) -> dict[str, str]:
    """Column -> "query", "document" or "text", of rows that a turn has made."""
    names = input_columns(dataset.column_names)
    if not _is_search(dataset, data_as):
        return dict.fromkeys(names, "text")
    return {name: "document" if place else "query" for place, name in enumerate(names)}


def _is_search(dataset: Any, data_as: str) -> bool:
    if data_as != AS_IT_IS:  # what counts is what was measured, and that are the rows before it
        before = TURNS[data_as].before
        return before is TEXT or before.name in SEARCHES
    count = len(input_columns(dataset.column_names))
    return count > 2 or (count == 2 and label_column(dataset.column_names) is None)


def prompt_of(model: Any, role: str) -> str:
    """What the model puts before a text in a role; empty for nothing."""
    name = prompting.first_name(model.prompts, _NAMES[role])
    found = prompting.resolve(model.prompts, None, name, model.default_prompt_name)
    return found or ""


def prompts_of(model: Any, roles: Mapping[str, str]) -> dict[str, str] | None:
    """Column -> its prompt, where there is one; None without any."""
    found = {name: prompt_of(model, role) for name, role in roles.items()}
    return {name: text for name, text in found.items() if text} or None


def routes_of(model: Any, roles: Mapping[str, str]) -> dict[str, str] | None:
    """Column -> its route, for a model with a `Router`; None for one without."""
    routers = [module for module in model.modules() if isinstance(module, Router)]
    if not routers:
        return None
    return {
        name: route for name, role in roles.items() if (route := _route(routers[0], role))
    } or None


def _route(router: Router, role: str) -> str | None:
    """The route of a role: of plain texts the one that `encode` takes."""
    task = TASKS[role]
    if task is not None and not router.has_route(task, "text"):
        return None
    return task or router.route_for(None, "text")


def notes_of(model: Any, dataset: Any) -> Iterator[str]:
    """What is to be said of prompts and routes before a training."""
    roles = roles_of(dataset)
    if prompts := prompts_of(model, roles):
        shown = ", ".join(f"{text!r} before {name}" for name, text in prompts.items())
        yield f"trained and measured with the model's prompts: {shown}"
    if routes := routes_of(model, roles):
        shown = ", ".join(f"{name} takes {route!r}" for name, route in routes.items())
        yield f"routes of the model: {shown}"
