"""Items -> batches -> forward -> the caller's order."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sentune.encoder import pipeline
from sentune.encoder.finish import OutputValue
from sentune.errors import ModelFileError, SettingError, warn
from sentune.text import batching, inputs
from sentune.types import Features

if TYPE_CHECKING:
    from sentune.encoder.sentence_transformer import SentenceTransformer

# How many items are tokenised and put in order of length at a time.
_WINDOW = 16_384


@dataclass(frozen=True)
class Options:
    """How to run a batch of items through a model.

    Attributes:
        prompt: Put before each item.
        batch_size: Items per forward pass.
        show_progress_bar: Whether to draw one.
        truncate_dim: Keep this many dimensions of each embedding; None for all.
        normalize: Whether embeddings are brought to length 1, after truncation.
        task: Route of a routed model.
        forward_kwargs: Keyword arguments for the modules that take them.
    """

    prompt: str | None = None
    batch_size: int = 32
    show_progress_bar: bool = False
    truncate_dim: int | None = None
    normalize: bool = False
    task: str | None = None
    forward_kwargs: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("batch_size", "truncate_dim"):
            value = getattr(self, name)
            if value is None and name == "truncate_dim":
                continue
            if not isinstance(value, Integral) or value < 1:
                raise SettingError(f"{name} must be a positive int, got {value!r}")


def outputs(
    model: SentenceTransformer,
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
    model: SentenceTransformer, items: Sequence[Any], options: Options, *, to_cpu: bool
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
    for rows, features in _outputs(model, distinct, options):
        embeddings = _finished(pipeline.sentence_embedding(model, features), options)
        if result is None:  # one array for all rows, its width known from the first batch
            device = torch.device("cpu") if to_cpu else embeddings.device
            shape = (len(distinct), *embeddings.shape[1:])
            result = torch.empty(shape, dtype=embeddings.dtype, device=device)
        result[torch.tensor(rows, device=result.device)] = embeddings.to(result.device)
    if result is None:
        width = options.truncate_dim or model.get_embedding_dimension() or 0
        result = torch.zeros((0, width), device="cpu" if to_cpu else model.device)
    if len(distinct) < len(items):
        result = result[torch.tensor(numbers, device=result.device)]
    _check_finite(model, result)
    return result


def token_embeddings(
    model: SentenceTransformer, items: Sequence[Any], options: Options
) -> list[Tensor]:
    """Per item the embeddings of its tokens, `(its tokens, d)`."""
    result: list[Tensor] = [torch.empty(0)] * len(items)
    for rows, features in _outputs(model, items, options, padded=True):
        for row, tokens, mask in zip(
            rows, features["token_embeddings"], features["attention_mask"], strict=True
        ):
            result[row] = tokens[mask.bool()]
    return result


def all_outputs(
    model: SentenceTransformer, items: Sequence[Any], options: Options
) -> list[Features]:
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
            in_training = [module for module in model.modules() if module.training]
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
    model: SentenceTransformer, items: Sequence[Any], options: Options, *, padded: bool = False
) -> Iterator[tuple[list[int], Features]]:
    """Row numbers and the model's output for them, batch by batch."""
    forward_kwargs = dict(options.forward_kwargs)
    truncated = 0
    with (
        evaluation_mode(model),
        tqdm(total=len(items), desc="Texts", disable=not options.show_progress_bar) as bar,
    ):
        for rows, features in _batches(model, items, options):
            truncated += features.pop("truncated", 0)
            if padded and batching.is_ragged(features):
                features = model.pad(features)
            features = batching.to_device(features, model.device)
            yield rows, model(features, **forward_kwargs)
            bar.update(len(rows))
    if truncated:
        _warn_of_truncation(model, truncated, len(items))


def _batches(
    model: SentenceTransformer, items: Sequence[Any], options: Options
) -> Iterator[tuple[list[int], Features]]:
    """Row numbers and their tokens, like lengths together."""
    for start in range(0, len(items), _WINDOW):
        window = items[start : start + _WINDOW]
        if model.reads_ragged:
            tokens = model.read(window, prompt=options.prompt, task=options.task)
            truncated = tokens.pop("truncated", 0)
            for rows in batching.batches_by_length(tokens["lengths"], options.batch_size):
                batch = batching.select(tokens, rows)
                yield [start + row for row in rows], {**batch, "truncated": truncated}
                truncated = 0
        else:
            lengths = [inputs.character_length(item) for item in window]
            for rows in batching.batches_by_length(lengths, options.batch_size):
                texts = [window[row] for row in rows]
                features = model.read(texts, prompt=options.prompt, task=options.task)
                yield [start + row for row in rows], dict(features)


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


def _check_finite(model: SentenceTransformer, embeddings: Tensor) -> None:
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


def _warn_of_truncation(model: SentenceTransformer, truncated: int, total: int) -> None:
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
