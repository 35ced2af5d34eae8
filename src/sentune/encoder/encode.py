"""Items -> batches -> forward -> the caller's order."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sentune.encoder import pipeline
from sentune.engine import packing
from sentune.engine.copies import encoding
from sentune.engine.deferred import made
from sentune.errors import ModelFileError, SettingError, warn
from sentune.machine.device import multiplying_in, tokens_per_batch
from sentune.text import inputs, layouts
from sentune.types import Features
from sentune.vectors.finish import OutputValue

# How many items are tokenised and put in order of length at a time. The first are few, since there
# is nothing to compute meanwhile.
_WINDOW = 16_384
_FIRST_WINDOW = 2_048
# Items per forward pass where it is not known how many tokens they have.
_ROWS = 32


@dataclass(frozen=True)
class Options:
    """How to run a batch of items through a model.

    Attributes:
        prompt: Put before each item.
        batch_size: Items per forward pass; None for as many as the machine is fast with, counted
            in tokens.
        show_progress_bar: Whether to draw one.
        truncate_dim: Keep this many dimensions of each embedding; None for all.
        normalize: Whether embeddings are brought to length 1, after truncation.
        task: Route of a routed model.
        forward_kwargs: Keyword arguments for the modules that take them.
    """

    prompt: str | None = None
    batch_size: int | None = None
    show_progress_bar: bool = False
    truncate_dim: int | None = None
    normalize: bool = False
    task: str | None = None
    forward_kwargs: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("batch_size", "truncate_dim"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Integral) or value < 1):
                raise SettingError(f"{name} must be a positive int or None, got {value!r}")


def outputs(
    model: Any,
    items: Sequence[Any],
    options: Options,
    output_value: OutputValue | None,
    *,
    to_cpu: bool,
) -> Any:
    """What `output_value` names: embeddings `(b, d)`, or a list with an entry per item.

    Args:
        model: The model.
        items: b checked items.
        options: How.
        output_value: "sentence_embedding", "token_embeddings", or None for everything.
        to_cpu: As for `sentence_embeddings`.
    """
    if output_value == "token_embeddings":
        return token_embeddings(model, items, options)
    if output_value is None:
        return all_outputs(model, items, options)
    return sentence_embeddings(model, items, options, to_cpu=to_cpu)


def sentence_embeddings(
    model: Any, items: Sequence[Any], options: Options, *, to_cpu: bool
) -> Tensor:
    """Embeddings of the items `(b, d)`, rows in the order given.

    Args:
        model: The model.
        items: b checked items.
        options: How.
        to_cpu: Whether the result is gathered in main memory; else it stays on the model's device.

    Raises:
        ModelFileError: If embeddings are not finite because weights of the model are not.
    """
    distinct, numbers = _distinct(items)  # a text that is there several times is computed once
    result: Tensor | None = None
    for start, size, window in _windows(model, distinct, options):
        part: Tensor | None = None  # stays where it is computed, so that nothing waits for a copy
        for rows, features in window:
            embeddings = _finished(pipeline.sentence_embedding(model, features), options)
            if part is None:  # the width is known from the first batch
                part = embeddings.new_empty((size, *embeddings.shape[1:]))
            part[torch.tensor(rows, device=part.device)] = embeddings
        assert part is not None  # a window is never empty
        if size == len(distinct):
            result = part.cpu() if to_cpu else part
            continue
        if result is None:  # one array for all rows
            device = torch.device("cpu") if to_cpu else part.device
            result = part.new_empty((len(distinct), *part.shape[1:]), device=device)
        result[start : start + size] = part
    if result is None:
        width = options.truncate_dim or model.get_embedding_dimension() or 0
        result = torch.zeros((0, width), device="cpu" if to_cpu else model.device)
    if len(distinct) < len(items):
        result = result[torch.tensor(numbers, device=result.device)]
    _check_finite(model, result)
    return result


def token_embeddings(model: Any, items: Sequence[Any], options: Options) -> list[Tensor]:
    """Per item the embeddings of its tokens, `(its tokens, d)`."""
    result: list[Tensor] = [torch.empty(0)] * len(items)
    for rows, features in _outputs(model, items, options, padded=True):
        for row, tokens, mask in zip(
            rows, features["token_embeddings"], features["attention_mask"], strict=True
        ):
            result[row] = tokens[mask.bool()]
    return result


def all_outputs(model: Any, items: Sequence[Any], options: Options) -> list[Features]:
    """Per item everything the modules gave out for it."""
    result: list[Features] = [{}] * len(items)
    for rows, features in _outputs(model, items, options, padded=True):
        if "sentence_embedding" in features:
            features["sentence_embedding"] = _finished(features["sentence_embedding"], options)
        for place, row in enumerate(rows):
            result[row] = {
                key: value[place] if _is_per_row(value, len(rows)) else value
                for key, value in features.items()
            }
    return result


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


def _outputs(
    model: Any, items: Sequence[Any], options: Options, *, padded: bool = False
) -> Iterator[tuple[list[int], Features]]:
    """Row numbers and the model's output for them, batch by batch."""
    for start, _, window in _windows(model, items, options, padded=padded):
        for rows, features in window:
            yield [start + row for row in rows], features


def _windows(
    model: Any, items: Sequence[Any], options: Options, *, padded: bool = False
) -> Iterator[tuple[int, int, Iterator[tuple[list[int], Features]]]]:
    """Per window of items: where it begins, its size, and the model's output batch by batch.

    Row numbers count from the beginning of the window.
    """
    truncated = 0

    def run(batches: Iterator[tuple[list[int], Features]]) -> Iterator[tuple[list[int], Features]]:
        nonlocal truncated
        for rows, features in batches:
            truncated += features.pop("truncated", 0)
            if padded and layouts.is_ragged(features):
                features = model.pad(features)
            features = packing.to_device(features, model.device)
            with multiplying_in(model.autocast_dtype, model.device):
                output = model(features, **dict(options.forward_kwargs))
            yield rows, _in_weights_type(model, output)
            bar.update(len(rows))

    with (
        evaluation_mode(model),
        encoding(),
        tqdm(total=len(items), desc="Texts", disable=not options.show_progress_bar) as bar,
    ):
        for start, size, batches in _batches(model, items, options):
            yield start, size, run(batches)
    if truncated:
        _warn_of_truncation(model, truncated, len(items))


def _batches(
    model: Any, items: Sequence[Any], options: Options
) -> Iterator[tuple[int, int, Iterator[tuple[list[int], Features]]]]:
    """Per window: where it begins, its size, and its batches, like lengths together."""
    if not items:
        return
    starts = [0, *range(_FIRST_WINDOW, len(items), _WINDOW)]
    windows = [items[a:b] for a, b in zip(starts, [*starts[1:], len(items)], strict=True)]
    if not model.reads_ragged:
        for start, window in zip(starts, windows, strict=True):
            yield start, len(window), _read_by_batch(model, window, options)
        return

    def read(window: Sequence[Any]) -> Features:
        return model.read(window, prompt=options.prompt, task=options.task)

    if len(windows) == 1:
        yield 0, len(items), _cut(model, read(items), options)
        return
    with ThreadPoolExecutor(1) as reader:  # reads the next window while this one is computed
        coming = reader.submit(read, windows[0])
        for place, (start, window) in enumerate(zip(starts, windows, strict=True)):
            tokens = coming.result()
            if place + 1 < len(windows):
                coming = reader.submit(read, windows[place + 1])
            yield start, len(window), _cut(model, tokens, options)


def _cut(model: Any, tokens: Features, options: Options) -> Iterator[tuple[list[int], Features]]:
    """The batches of a window whose tokens are read."""
    truncated = tokens.pop("truncated", 0)
    if options.batch_size is None:
        budget = tokens_per_batch(model.device, _width(model))
        batches = layouts.batches_by_tokens(tokens["lengths"], budget)
    else:
        batches = layouts.batches_by_length(tokens["lengths"], options.batch_size)
    for rows in batches:
        yield rows, {**layouts.select(tokens, rows), "truncated": truncated}
        truncated = 0


def _read_by_batch(
    model: Any, window: Sequence[Any], options: Options
) -> Iterator[tuple[list[int], Features]]:
    """The batches of a window for a model that gives padded tokens only."""
    lengths = [inputs.character_length(item) for item in window]
    for rows in layouts.batches_by_length(lengths, options.batch_size or _ROWS):
        texts = [window[row] for row in rows]
        yield rows, dict(model.read(texts, prompt=options.prompt, task=options.task))


def _width(model: Any) -> int:
    """Numbers that the widest layer of the model holds per token."""
    widths = (getattr(module, "inner_width", None) for module in model)
    return max(model.get_embedding_dimension() or 1, *(width or 0 for width in widths))


def _in_weights_type(model: Any, output: Features) -> Features:
    """The output with embeddings of full precision where the weights have it."""
    if model.dtype != torch.float32:
        return output
    return {key: x.float() if _is_half(x) else x for key, x in output.items()}


def _is_half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)


def _distinct(items: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The different items, and for each item its place among them."""
    places: dict[Hashable, int] = {}
    numbers = [places.setdefault(_key(item), len(places)) for item in items]
    first = dict(zip(reversed(numbers), reversed(items), strict=True))
    return [first[place] for place in range(len(places))], numbers


def _key(item: Any) -> Hashable:
    if isinstance(item, str):
        return item
    return frozenset(item.items()) if isinstance(item, Mapping) else tuple(item)


def _finished(embeddings: Tensor, options: Options) -> Tensor:
    """Truncated first, normalised after."""
    if options.truncate_dim is not None:
        embeddings = embeddings[..., : options.truncate_dim]
    if options.normalize:
        embeddings = nn.functional.normalize(embeddings, p=2, dim=-1)
    return embeddings


def _check_finite(model: Any, embeddings: Tensor) -> None:
    """Look for NaN and infinity in the result, and for their cause in the weights."""
    is_bad = ~torch.isfinite(embeddings).all(dim=-1)
    if not is_bad.any():
        return
    broken = [name for name, x in model.named_parameters() if not torch.isfinite(x).all()]
    if broken:
        raise ModelFileError(
            f"weights of this model are NaN or infinite ({len(broken)} tensors, the first is "
            f"{broken[0]}), and so are its embeddings; load an earlier checkpoint or download the "
            "model again"
        )
    warn(
        f"{int(is_bad.sum())} embeddings are not finite, the first in row "
        f"{int(is_bad.int().argmax())}; weights of type {model.dtype} may have overflowed: "
        'try dtype="float32"'
    )


def _is_per_row(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == rows


def _warn_of_truncation(model: Any, truncated: int, total: int) -> None:
    """Say once per model and limit that texts were cut."""
    limit = model.max_seq_length
    if model.__dict__.get("_told_of_limit") == limit:
        return
    model.__dict__["_told_of_limit"] = limit
    warn(
        f"{truncated} of {total} texts had more than max_seq_length={limit} tokens and were cut "
        "there. Raise the limit, as far as the model allows, with model.max_seq_length = ..., or "
        "split the texts. (Said once per model.)"
    )
