"""Which route of a `Router` each column takes: named for all of them, before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from sentune.errors import SettingError
from sentune.models.base import accepts, reader_of
from sentune.models.router import Router
from sentune.types import Text

# A value for all columns, per column, per dataset, or per dataset and column.
PerColumn = str | Mapping[str, Any] | None
_CURE = (
    "; set router_mapping={{{columns}}} in the training arguments, or name the route in the texts, "
    "as {{{first!r}: text}}"
)
_CURE_OF_FIT = (
    "; fit has no router_mapping: train with SentenceTransformerTrainer, or name the route in the "
    "texts, as InputExample(texts=[{{{first!r}: text}}, {{{last!r}: text}}])"
)


def check_mapping(model: nn.Module, mapping: PerColumn) -> None:
    """Raise if columns are mapped to routes and the model knows of none."""
    if not mapping or any(isinstance(module, Router) for module in model.modules()):
        return
    reader = reader_of(next(model.children(), model))
    if reader is not None and accepts(reader, "task"):
        return
    if not any("task" in getattr(module, "forward_kwargs", ()) for module in model.modules()):
        names = [type(module).__name__ for module in model.children()]
        raise SettingError(
            f"router_mapping={mapping!r} was given, and the model has no Router, only {names}; "
            "leave router_mapping out, or build the model with models.Router"
        )


def check_columns(
    model: nn.Module,
    mapping: PerColumn,
    columns: Mapping[str, Sequence[Text]],
    place: str,
    dataset_name: str | None = None,
    *,
    is_fit: bool = False,
) -> None:
    """Raise if a column has no route, or one that does not exist.

    Args:
        model: The model in training.
        mapping: The `router_mapping` of the training arguments.
        columns: Name of a column -> some of its texts; none where they are not known.
        place: Which dataset it is, for messages.
        dataset_name: Its name among several.
        is_fit: Whether it is trained on by `fit`, which has no mapping.
    """
    for column, texts in columns.items():
        task = for_column(mapping, column, dataset_name)
        named = next((next(iter(text)) for text in texts if isinstance(text, Mapping)), None)
        for router, routes in _routers(model, task or named):
            if task is None and named is None:
                cure = _cure(router, list(columns), is_fit=is_fit)
                raise SettingError(
                    f"{place}: column {column!r} has no route, and would take the default one, "
                    f"{router.route_for(None, 'text')!r}, of a Router with {routes}{cure}"
                )
            if not router.has_route(task or named, "text"):
                how = f"mapped to {task!r}" if task else f"{{{named!r}: text}}"
                raise SettingError(
                    f"{place}: column {column!r} is {how}, and the Router has no such route; "
                    f"there are {routes}"
                )


def for_column(setting: PerColumn, column: str, dataset_name: str | None = None) -> str | None:
    """What a setting says for a column."""
    if isinstance(setting, Mapping) and dataset_name is not None and dataset_name in setting:
        setting = setting[dataset_name]
    if isinstance(setting, Mapping):
        setting = setting.get(column)
    return setting if isinstance(setting, str) else None


def _routers(modules: Any, task: str | None) -> Iterator[tuple[Router, list[str]]]:
    """The routers on the way of texts that a task, or nothing, sends on, and what they know.

    Those for which it does not matter are left out: with one route, or one for all texts.
    """
    for module in modules:
        if not isinstance(module, Router):
            continue
        routes = list(module.sub_modules)
        if task is not None or (len(routes) > 1 and not module.has_route(None, "text")):
            yield module, module.tasks
        way = task if module.has_route(task, "text") else None
        yield from _routers(module.sub_modules[module.route_for(way, "text")], task)


def _cure(router: Router, columns: Sequence[str], *, is_fit: bool) -> str:
    first, last = router.tasks[0], router.tasks[-1]
    if is_fit:
        return _CURE_OF_FIT.format(first=first, last=last)
    routes = [first, *[last] * (len(columns) - 1)]
    shown = ", ".join(f"{c!r}: {route!r}" for c, route in zip(columns, routes, strict=True))
    return _CURE.format(columns=shown, first=first)
