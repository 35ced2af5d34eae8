"""Mini-batches in the words of other libraries: methods to call, to define and to override.

The losses of this library need none of them (`losses.embed` does it all). A loss of a user's own
may be made of them, and a method that a subclass overrides is the one that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states
from tqdm.auto import tqdm

from sentune.losses.base import Loss, inherited
from sentune.losses.embed import (
    Embedder,
    as_ragged,
    mini_batches_in_order,
    number_of_rows,
    replayed,
    select,
    sentence_embedding,
)
from sentune.losses.given import is_users
from sentune.types import Features

Range = tuple[int, int]


class RandContext:
    """The state of the random numbers when it was made; inside a `with` block they go on from it.

    Args:
        *tensors: Those on GPUs say whose state is kept, besides that of the CPU.
    """

    def __init__(self, *tensors: Any) -> None:
        self.fwd_cpu_state = torch.get_rng_state()
        self.fwd_gpu_devices, self.fwd_gpu_states = get_device_states(*tensors)

    def __enter__(self) -> None:
        self._fork = torch.random.fork_rng(devices=self.fwd_gpu_devices, enabled=True)
        self._fork.__enter__()
        torch.set_rng_state(self.fwd_cpu_state)
        set_device_states(self.fwd_gpu_devices, self.fwd_gpu_states)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)


class CachedLossMixin:
    """Bounded memory for a module with a `model`, a `mini_batch_size` and `calculate_loss`.

    `forward_cached` embeds a batch in mini-batches, keeps only the embeddings, and embeds again
    when the gradient comes back.

    Attributes:
        mini_batch_num_tokens: Tokens in a mini-batch, in place of `mini_batch_size` rows.
        show_progress_bar: Whether to show one over the mini-batches.
        uses_gradient_cache: Whether the model runs again in the backward pass.
    """

    model: Any
    mini_batch_size: int | None
    mini_batch_num_tokens: int | None = None
    show_progress_bar: bool = False
    uses_gradient_cache: bool = True

    def calculate_loss(
        self,
        reps: Sequence[Sequence[Tensor]],
        labels: Tensor | None = None,
        *,
        with_backward: bool = False,
    ) -> Any:
        """The loss of the mini-batches `(m, d)` of each column.

        With `with_backward` the gradient is computed at once, and the loss comes without it.
        """
        if not isinstance(self, Loss):
            raise NotImplementedError(f"{type(self).__name__} has to define calculate_loss(reps)")
        value = inherited(self, "calculate_loss")([torch.cat([*parts]) for parts in reps], labels)
        return backward(value) if with_backward else value

    def embed_minibatch(
        self,
        sentence_feature: Features,
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: RandContext | None = None,
    ) -> tuple[Any, ...]:
        """The embeddings of rows of a column, `(end - begin, d)`, and the random state before."""
        features = as_ragged(sentence_feature)
        part = select(features, range(begin, min(end, number_of_rows(features))))
        with random_state or nullcontext(), nullcontext() if with_grad else torch.no_grad():
            state = RandContext(*part.values()) if copy_random_state else None
            return sentence_embedding(self.model, part), state

    def embed_minibatch_iter(
        self,
        sentence_feature: Features,
        with_grad: bool,
        copy_random_state: bool,
        random_states: Sequence[RandContext] | None = None,
        ranges: Sequence[Range] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """What `embed_minibatch` gives for each mini-batch of a column, in order."""
        for place, (begin, end) in enumerate(self._shown(ranges or self._ranges(sentence_feature))):
            state = None if random_states is None else random_states[place]
            yield self.embed_minibatch(
                sentence_feature=sentence_feature,
                begin=begin,
                end=end,
                with_grad=with_grad,
                copy_random_state=copy_random_state,
                random_state=state,
            )

    def forward_cached(
        self, sentence_features: Iterable[Features], labels: Tensor | None = None
    ) -> Any:
        """The loss of a batch, one dict of tokenised text per column."""
        if isinstance(self, Loss):
            return Loss.forward(self, sentence_features, labels)
        return self.calculate_loss([self._embedded(one) for one in sentence_features], labels)

    def get_config_dict(self) -> dict[str, Any]:
        """As `Loss`, with the limit of tokens also where there is none."""
        names = ("mini_batch_size", "mini_batch_num_tokens")
        own = super().get_config_dict() if isinstance(self, Loss) else {}  # type: ignore[misc]
        return {**{name: getattr(self, name) for name in names}, **own}

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """As `Loss.embed`, by the methods above where a subclass has its own."""
        is_own = is_users(self, "embed_minibatch") or is_users(self, "embed_minibatch_iter")
        reads_embeddings = embedder is None or embedder.read is sentence_embedding
        if is_own and reads_embeddings:
            return [torch.cat(self._embedded(column)) for column in features]
        return super().embed(features, embedder)  # type: ignore[misc]

    def _embedded(self, features: Features) -> list[Tensor]:
        """The mini-batches of a column; each runs again when its gradient comes."""
        if is_users(self, "embed_minibatch_iter"):
            return [replayed(lambda: torch.cat([rows for rows, *_ in self._all(features)]))]
        return [
            replayed(lambda one=one: next(iter(self._all(features, [one])))[0])
            for one in self._ranges(features)
        ]

    def _all(self, features: Features, ranges: Sequence[Range] | None = None) -> Iterator[Any]:
        return self.embed_minibatch_iter(
            sentence_feature=features, with_grad=True, copy_random_state=False, ranges=ranges
        )

    def _shown(self, ranges: Sequence[Range]) -> Iterable[Range]:
        return tqdm(ranges, desc="Mini-batches", disable=not self.show_progress_bar)

    def _ranges(self, features: Features) -> list[Range]:
        return mini_batches_in_order(features, self.mini_batch_size, self.mini_batch_num_tokens)


def uses_gradient_cache(loss: Any) -> bool:
    """Whether a loss runs the model again in the backward pass."""
    return bool(getattr(loss, "uses_gradient_cache", False))


def backward(value: Any) -> Any:
    """The value of a loss without its graph, after the gradient was computed."""
    if isinstance(value, dict):
        torch.stack(list(value.values())).sum().backward()
        return {name: part.detach() for name, part in value.items()}
    value.backward()
    return value.detach()


def has_static_embedding_input(model: Any) -> bool:
    """Whether a model reads its texts with a `StaticEmbedding`, also as a route of a `Router`."""
    first = getattr(model, "_orig_mod", model)[0]
    routes = getattr(first, "sub_modules", None)
    inputs: Iterable[nn.Module] = (
        [route[0] for route in routes.values()] if routes is not None else [first]
    )
    return any(kind.__name__ == "StaticEmbedding" for x in inputs for kind in type(x).__mro__)
