"""One model, several ways through it: a route for queries, another for documents."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, TypeAlias, cast

from torch import nn

from sentune.engine import packing
from sentune.errors import InputError, SettingError, warn
from sentune.models.base import (
    InputModule,
    gives_ragged,
    prompted,
    read_by,
    reads_packed,
    tokenizer_of,
)
from sentune.text import inputs
from sentune.types import Features, OutputKind, Text

Modality: TypeAlias = "str | tuple[str, ...] | None"
RouteKey: TypeAlias = "tuple[str | None, Modality]"


class _Taken:
    """What `forward` takes: of the class what every router takes, of one what its modules take."""

    def __get__(self, router: Router | None, kind: type | None = None) -> frozenset[str]:
        own = frozenset({"task", "modality"})
        if router is None:
            return own
        modules = chain.from_iterable(router._routes.values())
        return own.union(*(getattr(module, "forward_kwargs", ()) for module in modules))


class Router(InputModule):
    """Sends a batch through the modules of one route, chosen by task (or modality).

    The task comes as an argument, in `features["task"]`, or as the key of texts given as
    `{task: text}`. The route is, first match counts: what `route_mappings` has for (task,
    modality), (task, None), (None, modality), (None, None); the route named as the task; the one
    named as the modality; and, where no task was given, the default route.

    Args:
        sub_modules: Route -> its modules, in order.
        default_route: Route of a batch without a task.
        allow_empty_key: Whether the first route is the default where none is given.
        route_mappings: (task, modality) -> route; None means any. Keys may be written as
            strings, as they are in files: "('query', None)".

    Example:
        >>> from sentune.models import Dense
        >>> router = Router.for_query_document([Dense(8, 4)], [Dense(8, 4)])
        >>> router.route_for("query"), router.route_for()
        ('query', 'document')
    """

    config_file_name: ClassVar[str] = "router_config.json"
    forward_kwargs = _Taken()
    config_keys = ["default_route", "allow_empty_key", "route_mappings"]

    def __init__(
        self,
        sub_modules: Mapping[str, Sequence[nn.Module]],
        default_route: str | None = None,
        allow_empty_key: bool = True,
        route_mappings: Mapping[RouteKey, str] | Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if not sub_modules or not all(len(modules) for modules in sub_modules.values()):
            raise SettingError(
                "sub_modules must be a dict of at least one route, each with at least one module, "
                f"got { ({route: len(modules) for route, modules in (sub_modules or {}).items()}) }"
            )
        self.sub_modules = nn.ModuleDict(
            {route: nn.Sequential(*modules) for route, modules in sub_modules.items()}
        )
        if default_route is None and allow_empty_key:
            default_route = next(iter(sub_modules))
        self.default_route = default_route
        self.allow_empty_key = allow_empty_key
        self.route_mappings = {
            _route_key(key): route for key, route in (route_mappings or {}).items()
        }
        for named in (default_route, *self.route_mappings.values()):
            if named is not None and named not in sub_modules:
                raise SettingError(
                    f"route {named!r} is named by default_route or route_mappings, "
                    f"but the routes are {list(sub_modules)}"
                )
        self._warn_of_widths()

    @classmethod
    def for_query_document(
        cls,
        query_modules: Sequence[nn.Module],
        document_modules: Sequence[nn.Module],
        default_route: str | None = "document",
        allow_empty_key: bool = True,
    ) -> Router:
        """A router for `encode_query` and `encode_document`, with these as its two routes."""
        routes = {"query": query_modules, "document": document_modules}
        return cls(routes, default_route, allow_empty_key)

    def route_for(self, task: str | None = None, modality: Modality = None) -> str:
        """The route for a task, such as "query", and a modality; SettingError if there is none."""
        found = self._named(task, modality)
        if found is not None:
            return found
        if task is None and self.default_route is not None:
            return self.default_route
        raise SettingError(
            f"there is no route for task={task!r}; the routes are {list(self.sub_modules)}"
            + (f" and the mappings {self.route_mappings}" if self.route_mappings else "")
            + "; pass task=... to encode (encode_query and encode_document do), map the columns "
            "in training by router_mapping, or give the Router a default_route"
        )

    def has_route(self, task: str | None = None, modality: Modality = None) -> bool:
        """Whether a route is named for a task and a modality, so that no default is taken."""
        return self._named(task, modality) is not None

    @property
    def tasks(self) -> list[str]:
        """What may be given as a task: the routes, and the tasks that are mapped to them."""
        mapped = [task for task, _ in self.route_mappings if task is not None]
        return list(dict.fromkeys([*self.sub_modules, *mapped]))

    def read(
        self,
        texts: Sequence[Text],
        prompt: str | None = None,
        task: str | None = None,
        modality: Modality = "text",
    ) -> Features:
        """Texts, each behind the prompt, as the first module of their route reads them.

        Each may be `{task: text}`, all with the same task; else there is an InputError.
        """
        texts, task = _without_task(texts, task)
        found = read_by(self._first(task, modality), texts, prompt, task)
        return _labelled(found, task, modality)

    def tokenize(
        self,
        texts: Sequence[Text],
        task: str | None = None,
        modality: Modality = "text",
        *,
        prompt: str | None = None,
        **kwargs: Any,
    ) -> Features:
        """Texts as the first module of their route tokenises them, with their task."""
        texts, task = _without_task(texts, task)
        first = self._first(task, modality)
        reader = tokenizer_of(first)
        texts, extra = prompted(reader, texts, prompt)
        kwargs |= {**extra, **({"task": task} if isinstance(first, Router) else {})}
        return _labelled(reader(texts, **kwargs), task, modality)

    def pad(self, features: Features) -> Features:
        """The padded layout of a ragged batch, as the first module of its route pads."""
        task, modality = features.get("task"), features.get("modality")
        pad = getattr(self._first(task, modality), "pad", packing.pad)
        return _labelled(pad(features), task, modality)

    def forward(
        self, features: Features, task: str | None = None, modality: Modality = None, **kwargs: Any
    ) -> Features:
        """The features after the modules of the route, each with the arguments that it takes.

        Task and modality are those of the whole batch; None for what the features say.
        """
        task = features.get("task") if task is None else task
        modality = features.get("modality") if modality is None else modality
        kwargs |= {"task": task, "modality": modality}
        features = dict(features)  # modules from elsewhere may write into it
        for module in self._routes[self.route_for(task, modality)]:
            taken = getattr(module, "forward_kwargs", ())
            features = module(features, **{name: kwargs[name] for name in kwargs if name in taken})
        return features

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, `sub_modules` aside."""
        return {
            "default_route": self.default_route,
            "allow_empty_key": self.allow_empty_key,
            "route_mappings": {str(key): route for key, route in self.route_mappings.items()},
        }

    @property
    def reads_packed(self) -> bool:
        """Whether the modules of every route read the packed layout."""
        return all(map(reads_packed, chain.from_iterable(self._routes.values())))

    @property
    def routes_give_ragged(self) -> bool:
        """Whether the first module of every route reads texts into the ragged layout."""
        return all(gives_ragged(modules[0]) for modules in self._routes.values())

    @property
    def outputs(self) -> Mapping[str, OutputKind]:  # type: ignore[override]
        """What the modules of all routes give."""
        found: dict[str, OutputKind] = {}
        for module in chain.from_iterable(self._routes.values()):
            found |= getattr(module, "outputs", {})
        return found

    @property
    def modalities(self) -> list[Any]:
        """Kinds of inputs that the first modules of the routes read."""
        firsts = (getattr(modules[0], "modalities", ["text"]) for modules in self._routes.values())
        return list(dict.fromkeys(chain.from_iterable(firsts)))

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the first route that has one."""
        found = (getattr(modules[0], "tokenizer", None) for modules in self._routes.values())
        return next((tokenizer for tokenizer in found if tokenizer is not None), None)

    @property
    def max_seq_length(self) -> int | None:
        """The longest limit among the routes; None if none has one. Set it for all at once."""
        found = (getattr(modules[0], "max_seq_length", None) for modules in self._routes.values())
        return max((length for length in found if length is not None), default=None)

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        firsts: list[Any] = [modules[0] for modules in self._routes.values()]
        limited = [first for first in firsts if hasattr(first, "max_seq_length")]
        for first in limited:
            first.max_seq_length = length
        if not limited:
            warn(
                f"max_seq_length={length} has no effect: no route of the Router begins with a "
                "module that has a limit"
            )

    def save(  # type: ignore[override]  # by place, as in sentence-transformers
        self, output_path: str, safe_serialization: bool = True, **kwargs: Any
    ) -> None:
        """Write the routes.

        Args:
            output_path: The module's folder.
            safe_serialization: Whether weights go to safetensors; else to a pickle.
            **kwargs: For subclasses.
        """
        super().save(output_path, safe_serialization=safe_serialization, **kwargs)

    def on_model_ready(self, model: Any) -> None:
        """Tell the modules of every route that the model is complete.

        Args:
            model: That model.
        """
        for module in chain.from_iterable(self._routes.values()):
            getattr(module, "on_model_ready", id)(model)

    def get_embedding_dimension(self) -> int | None:
        """Width that the routes give; None if no module knows."""
        return next(iter(self._widths().values()), None)

    @property
    def _routes(self) -> dict[str, list[nn.Module]]:
        """Route -> its modules, in order."""
        return {name: list(cast(nn.Sequential, m)) for name, m in self.sub_modules.items()}

    def _named(self, task: str | None, modality: Modality) -> str | None:
        """The route that the mappings have for a task and a modality, or that is called so."""
        modality = _in_order(modality)
        for key in ((task, modality), (task, None), (None, modality), (None, None)):
            if key in self.route_mappings:
                return self.route_mappings[key]
        names = [name for name in (task, modality) if isinstance(name, str)]
        return next((name for name in names if name in self.sub_modules), None)

    def _first(self, task: str | None, modality: Modality) -> Any:
        """The module that reads the texts of a task and modality."""
        return self._routes[self.route_for(task, modality)][0]

    def _widths(self) -> dict[str, int]:
        """Route -> width it gives, as far as known."""
        widths = {}
        for route, modules in self._routes.items():
            for module in modules:
                width = getattr(module, "get_embedding_dimension", lambda: None)()
                if width is not None:
                    widths[route] = width
        return widths

    def _warn_of_widths(self) -> None:
        widths = self._widths()
        if len(set(widths.values())) > 1:
            warn(
                f"the routes give embeddings of different widths, {widths}, which cannot be "
                "compared; end one of them with a Dense of the other's width"
            )


# The older name of the same class.
Asym = Router


def _route_key(key: RouteKey | str) -> RouteKey:
    """(task, modality), of a tuple or of what a file has for one."""
    pair = key
    if isinstance(key, str):
        try:
            pair = ast.literal_eval(key)
        except (ValueError, SyntaxError):
            pair = key
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise SettingError(
            f"a key of route_mappings must be (task, modality), each may be None; got {key!r}"
        )
    return pair[0], _in_order(pair[1])


def _in_order(modality: Modality) -> Modality:
    """The modality; of several, in alphabetical order."""
    return tuple(sorted(modality)) if isinstance(modality, tuple) else modality


def _without_task(texts: Sequence[Text], task: str | None) -> tuple[Sequence[Text], str | None]:
    """The plain texts of `{task: text}` dicts, and the one task that they may name."""
    items = list(texts)
    inputs.check_items(items)
    if not any(isinstance(item, Mapping) for item in items):
        return items, task
    tasks = {name for item in items for name in (item if isinstance(item, Mapping) else [task])}
    if len(tasks | ({task} if task else set())) > 1:
        raise InputError(
            f"a batch takes one route, but its texts name {sorted(map(str, tasks))} "
            f"and task={task!r}; pass the texts of each task on their own"
        )
    return [inputs.texts_of(item)[0] for item in items], next(iter(tasks))


def _labelled(features: Features, task: str | None, modality: Modality) -> Features:
    """The features with their task and modality, as far as known."""
    labels = {"task": task, "modality": modality}
    return {**features, **{name: label for name, label in labels.items() if label is not None}}
