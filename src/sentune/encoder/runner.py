"""The runner of the loop that computes with torch: a model over batches of tokens."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from sentune.encoder import outputs, pipeline
from sentune.engine import packing
from sentune.engine.copies import encoding
from sentune.engine.deferred import made
from sentune.errors import ModelFileError, SettingError, warn
from sentune.machine.device import multiplying_in, tokens_per_batch
from sentune.text import layouts
from sentune.types import Features


@dataclass(frozen=True)
class Options:
    """How to run items through a model."""

    value: str | None = "sentence_embedding"  # the output; None for all that the modules give
    prompt: str | None = None  # put before each item
    batch_size: int | None = None  # items per forward pass; None to choose by tokens, for speed
    show_progress_bar: bool = False  # whether to draw one
    truncate_dim: int | None = None  # keep this many dimensions of each embedding; None for all
    normalize: bool = False  # whether embeddings are brought to length 1, after truncation
    task: str | None = None  # route of a routed model
    forward_kwargs: tuple[tuple[str, Any], ...] = ()  # for the modules that take them

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("batch_size", "truncate_dim"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Integral) or value < 1):
                raise SettingError(f"{name} must be a positive int or None, got {value!r}")


class TorchRunner:
    """Computes with a model, as `sentune.flow.loop.Runner` says."""

    def __init__(self, model: Any, options: Options) -> None:
        self.model = model
        self.options = options
        self.reads_ragged = model.reads_ragged
        self.device = model.device
        self.dtype = model.autocast_dtype
        self._kinds = outputs.kinds_of(model)

    @property
    def gives_array(self) -> bool:
        """Whether `compute` gives an array with a row per item; else a list."""
        return self.options.value is not None and self._kinds.get(self.options.value) != "token"

    def read(self, items: Sequence[Any]) -> Features:
        """Items as tokens."""
        return dict(self.model.read(items, prompt=self.options.prompt, task=self.options.task))

    def tokens_per_batch(self) -> int:
        """How many tokens a batch should hold, chosen for speed."""
        widths = (getattr(module, "inner_width", None) for module in self.model)
        known = max((width or 0 for width in widths), default=0)
        return tokens_per_batch(self.device, max(pipeline.width(self.model) or 1, known))

    @contextmanager
    def working(self) -> Iterator[None]:
        """The model in evaluation, without gradients."""
        with evaluation_mode(self.model), encoding():
            yield

    def compute(self, features: Features) -> Any:
        """What is wanted of a batch, in its order: `(b, d)`, or a list with an entry per row."""
        features = packing.to_tensors(features)
        if self.device.type != "cpu" and layouts.is_ragged(features) and self.model.is_packed:
            features = packing.pack(features, self.device)  # in main memory, before the transfer
        features = packing.to_device(features, self.device)
        with multiplying_in(self.dtype, self.device):
            if self.gives_array:
                found = self.model(features, **dict(self.options.forward_kwargs))
                found = pipeline.in_type_of(self.model.dtype, found)
                return self._finished(pipeline.output(self.model, found, str(self.options.value)))
            return self._per_row(features)

    def done(self, truncated: int, items: int) -> None:
        """Warn once per model and limit that texts were truncated, or take note of it."""
        note_truncated(self.model, truncated, items)

    def _per_row(self, features: Features) -> list[Any]:
        """An entry per row, of outputs that differ in size or are of several kinds."""
        found: dict[int, Any] = {}
        kwargs = dict(self.options.forward_kwargs)
        for rows, result in pipeline.parts(self.model, features, kwargs):
            entries = self._entries(pipeline.in_type_of(self.model.dtype, result), len(rows))
            found.update(zip(rows, entries, strict=True))
        return [found[row] for row in range(len(found))]

    def _entries(self, features: Features, rows: int) -> list[Any]:
        name = self.options.value
        if name is not None:
            value = pipeline.output(self.model, features, name)
            return outputs.rows_of(value, "token", features, rows)
        if "sentence_embedding" in features:
            features["sentence_embedding"] = self._finished(features["sentence_embedding"])
        return outputs.everything(features, self._kinds, rows)

    def _finished(self, embeddings: Tensor) -> Tensor:
        """Truncated first, normalised after."""
        if self.options.truncate_dim is not None:
            embeddings = embeddings[..., : self.options.truncate_dim]
        if self.options.normalize:
            embeddings = nn.functional.normalize(embeddings, p=2, dim=-1)
        return embeddings


def check_width(model: Any, truncate_dim: int | None) -> None:
    """Refuse to keep more dimensions than a model gives, which would change nothing.

    Raises:
        SettingError: If there are fewer.
    """
    width = pipeline.width(model)
    if truncate_dim is not None and width is not None and truncate_dim > width:
        raise SettingError(
            f"truncate_dim (--truncate-dim) must be at most {width}, the dimensions that the model "
            f"gives, got {truncate_dim}; leave it out to keep all"
        )


@dataclass
class Truncated:
    """How many texts a model truncated."""

    model: Any = None
    texts: int = 0
    items: int = 0  # of so many


_added_up: ContextVar[Truncated | None] = ContextVar("truncated", default=None)


@contextmanager
def adding_up() -> Iterator[Truncated]:
    """Truncated texts of all calls in the block are added up, and no call warns of its own."""
    found = Truncated()
    before = _added_up.set(found)
    try:
        yield found
    finally:
        _added_up.reset(before)


@contextmanager
def warning_at_end() -> Iterator[None]:
    """One warning of all texts that the calls in the block truncated, if it ends without error."""
    with adding_up() as found:
        yield
    if found.texts:
        _warn_of_limit(found.model, found.texts, found.items, "Equal texts may be counted once.")


def note_truncated(model: Any, texts: int, items: int) -> None:
    """Warn once per model and limit that texts were truncated; in a block that adds up, add."""
    found = _added_up.get()
    if found is not None:
        found.model, found.texts, found.items = model, found.texts + texts, found.items + items
    elif texts and model.__dict__.get("_warned_of_limit") != model.max_seq_length:
        words = "These are the texts of this call, equal ones counted once; the warning appears "
        _warn_of_limit(model, texts, items, f"{words}once per model.")


def _warn_of_limit(model: Any, texts: int, items: int, remark: str) -> None:
    limit = model.max_seq_length
    model.__dict__["_warned_of_limit"] = limit
    warn(
        f"{texts:,} of {items:,} texts had more than max_seq_length={limit} tokens and were "
        "truncated. Raise the limit, as far as the model allows, with model.max_seq_length = "
        f"..., or split the texts. ({remark})"
    )


_modes_lock = threading.Lock()
_modes: weakref.WeakKeyDictionary[nn.Module, tuple[int, list[nn.Module]]]
_modes = weakref.WeakKeyDictionary()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The model without dropout and gradients; afterwards as it was.

    Several threads may be inside at once: the first one in switches, the last one out restores.
    """
    with _modes_lock:
        users, in_training = _modes.get(model, (0, []))
        if not users:
            in_training = [module for module in made(model) if module.training]
            for module in in_training:
                module.training = False
        _modes[model] = (users + 1, in_training)
    try:
        with torch.no_grad():
            yield
    finally:
        with _modes_lock:
            users, in_training = _modes.pop(model)
            if users > 1:
                _modes[model] = (users - 1, in_training)
            else:
                for module in in_training:
                    module.training = True


def check_finite(model: nn.Module, values: Tensor, start: int = 0) -> None:
    """Warn of NaN and infinity in a result `(b, d)`; an error if the weights have them.

    `start` is the number of the first row, for the message.
    """
    is_bad = ~torch.isfinite(values).all(dim=-1)
    if not is_bad.any():
        return
    broken = [name for name, x in model.named_parameters() if not torch.isfinite(x).all()]
    if broken:
        raise ModelFileError(
            f"weights of this model are NaN or infinite ({len(broken)} tensors, the first is "
            f"{broken[0]}), and so are its embeddings; load an earlier checkpoint or download the "
            "model again"
        )
    first = next(x.dtype for x in model.parameters() if x.is_floating_point())
    warn(
        f"{int(is_bad.sum())} embeddings are not finite, the first in row "
        f"{start + int(is_bad.int().argmax())}; weights of type {first} may have overflowed: "
        'try dtype="float32"'
    )
