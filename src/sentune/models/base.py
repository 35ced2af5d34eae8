"""The contract of a module: features in, new features out, settings that rebuild it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from sentune.engine import packing
from sentune.errors import InputError, SettingError
from sentune.models.files import Files
from sentune.text.inputs import with_prefix
from sentune.types import Features, OutputKind, Text

# What most modules give.
PER_ROW: Mapping[str, OutputKind] = {"sentence_embedding": "row"}
PER_TOKEN: Mapping[str, OutputKind] = {"token_embeddings": "token"}


class Module(Files, nn.Module):
    """One step on the way from tokens to an embedding.

    A model is a sequence of modules. A module reads some keys of the features, and returns a new
    dict with its own keys added; the dict it was given stays as it was.

    Attributes:
        save_in_root: Whether it is saved in the model's own folder when it comes first.
        forward_kwargs: Names of the keyword arguments that `forward` takes besides the features.
        outputs: Key -> what kind of output it is, for each that `forward` gives.

    The modules of sentune raise a SettingError if an argument is out of range.
    """

    save_in_root: ClassVar[bool] = False
    forward_kwargs: ClassVar[frozenset[str]] = frozenset()
    outputs: Mapping[str, OutputKind] = {}

    @property
    def reads_packed(self) -> bool:
        """Whether `forward` takes the packed layout of `sentune.text.layouts`; may be an attribute.

        If every module of a model does, the model runs packed.
        """
        return False

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """The features with this module's result added."""
        raise NotImplementedError

    def get_embedding_dimension(self) -> int | None:
        """Width of the embedding this module gives out; None if it passes on what comes in."""
        return None

    def get_sentence_embedding_dimension(self) -> int | None:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def get_word_embedding_dimension(self) -> int | None:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def on_model_ready(self, model: Any) -> None:
        """Called when the model that the module is part of is complete.

        Args:
            model: That model.
        """

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings().items())


class InputModule(Module):
    """The first module of a model: it turns texts into features as well.

    Attributes:
        tokenizer: What turns text into tokens.
        max_seq_length: Most tokens of a text that are read; None for no limit.
    """

    save_in_root: ClassVar[bool] = True
    tokenizer: Any
    max_seq_length: int | None

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Texts, each behind the prompt, as tokens in the ragged layout."""
        raise NotImplementedError

    def tokenize(
        self, texts: Sequence[Text], *, prompt: str | None = None, **kwargs: Any
    ) -> Features:
        """Tokenised texts in the padded layout, as other libraries expect them."""
        extra = {} if prompt is None else {"prompt": prompt}
        if type(self).read is not InputModule.read:
            return self.pad(self.read(texts, **extra, **kwargs))
        if type(self).preprocess is InputModule.preprocess:
            raise NotImplementedError(f"{type(self).__name__} must define preprocess or tokenize")
        return self.preprocess(texts, **extra, **kwargs)

    def preprocess(
        self,
        inputs: Sequence[Text],
        prompt: str | None = None,
        task: str | None = None,
        **kwargs: Any,
    ) -> Features:
        """As `tokenize`, with a prompt before each text; a task matters to a Router only."""
        texts, extra = prompted(self.tokenize, inputs, prompt)
        if task is not None and accepts(self.tokenize, "task"):
            extra["task"] = task
        return self.tokenize(texts, **extra, **kwargs)

    @property
    def modalities(self) -> list[str]:
        """Kinds of inputs that it reads."""
        return ["text"]

    def save_tokenizer(self, output_path: str, **kwargs: Any) -> None:
        """Write the tokenizer, if there is one.

        Args:
            output_path: The module's folder; a file for one of the tokenizers library.
            **kwargs: For the tokenizer's own method.
        """
        tokenizer = getattr(self, "tokenizer", None)
        save = getattr(tokenizer, "save_pretrained", None) or getattr(tokenizer, "save", None)
        if save is not None:
            save(output_path, **kwargs)

    def pad(self, features: Features) -> Features:
        """The padded layout of a ragged batch, with this module's padding token and side."""
        return packing.pad(features)


def take(features: Features, name: str, reader: nn.Module, width: int | None = None) -> Tensor:
    """The features' value of that name for a module; InputError if missing or of another width."""
    value: Tensor | None = features.get(name)
    who = type(reader).__name__
    if value is None:
        raise InputError(
            f"{who} reads {name!r}, which no module before it has given; "
            f"there are {sorted(features)}: put a module that gives {name!r} before it"
        )
    if width is not None and value.shape[-1] != width:
        raise InputError(
            f"{who} is made for {name!r} of width {width}, got shape {tuple(value.shape)}; "
            f"build it for {value.shape[-1]}, or bring the modules before it to width {width}"
        )
    return value


def reads_packed(module: nn.Module) -> bool:
    """Whether a module reads the packed layout; not one that computes in a way of its own.

    A subclass with its own `forward`, or a module with hooks, expects the padded layout unless
    its class says otherwise.
    """
    own = module.__dict__
    if own["_forward_hooks"] or own["_forward_pre_hooks"]:
        return False
    return says(module, "reads_packed")


def says(module: nn.Module, name: str) -> bool:
    """What the flag of this name is, as far as it describes the `forward` that the module has.

    A flag of a class does not describe a `forward` that a subclass defines.
    """
    is_replaced = "forward" in module.__dict__ and "_original_forward" not in module.__dict__
    if is_replaced:  # and not by accelerate, which calls the one before
        return False
    return _place(module, name) <= _place(module, "forward") and bool(getattr(module, name, False))


def reader_of(module: Any) -> Callable[..., Features] | None:
    """What reads texts: the most derived of `preprocess`, `tokenize` and `read`; None if none."""
    names = [name for name in ("read", "preprocess", "tokenize") if hasattr(module, name)]
    return getattr(module, min(names, key=lambda name: _place(module, name))) if names else None


def tokenizer_of(module: Any) -> Callable[..., Features]:
    """What reads texts into the padded layout; a SettingError if nothing of the module reads."""
    found = reader_of(module)
    if found is None:
        raise SettingError(
            f"the first module must turn texts into tokens, and {type(module).__name__} does not "
            "read texts; begin the model with one that does, as models.Transformer(...)"
        )
    is_ragged = found == getattr(module, "read", None)
    return getattr(module, "tokenize", found) if is_ragged else found


def gives_ragged(module: Any) -> bool:
    """Whether what a module reads is in the ragged layout; of a router, on every route."""
    own = getattr(module, "read", None)
    is_read = own is not None and reader_of(module) == own
    return is_read and bool(getattr(module, "routes_give_ragged", True))


def read_by(
    module: Any, texts: Sequence[Text], prompt: str | None = None, task: str | None = None
) -> Features:
    """Texts, each behind the prompt, as a module reads them: ragged where it can."""
    reader = reader_of(module) or tokenizer_of(module)
    texts, extra = prompted(reader, texts, prompt)
    if task is not None and accepts(reader, "task"):
        extra["task"] = task
    return reader(texts, **extra)


_HANDS_ON = "**"  # among the names of arguments: all others
_known: WeakKeyDictionary[Callable[..., Any], frozenset[str]] = WeakKeyDictionary()


def _taken(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's arguments, and `_HANDS_ON`."""
    parameters = inspect.signature(function).parameters
    hands_on = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    is_reader = getattr(function, "__name__", None) in ("read", "tokenize")
    return frozenset({*parameters, _HANDS_ON} if hands_on and not is_reader else parameters)


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of this name, or hands on what it does not know.

    A `tokenize(texts, **kwargs)` ignores what it does not know; it never knew of prompts.
    """
    inner = getattr(function, "__func__", function)
    if not isinstance(inner, FunctionType):
        return name in _taken(function) or _HANDS_ON in _taken(function)
    if inner not in _known:  # asked for in each call of `encode`, and slow to find out
        _known[inner] = _taken(inner)
    return name in _known[inner] or _HANDS_ON in _known[inner]


def prompted(
    reader: Callable[..., Features], texts: Sequence[Text], prompt: str | None
) -> tuple[Sequence[Text], dict[str, Any]]:
    """What a reader of texts is given for a prompt: the texts behind it, or it as an argument."""
    if prompt is None or accepts(reader, "prompt"):
        return texts, {} if prompt is None else {"prompt": prompt}
    return [with_prefix(text, prompt) for text in texts], {}


def _place(module: Any, name: str) -> int:
    """How far up its classes an attribute of a module is defined; -1 for its own."""
    if name in module.__dict__:
        return -1
    classes = type(module).__mro__
    return next((i for i, kind in enumerate(classes) if name in vars(kind)), len(classes))
