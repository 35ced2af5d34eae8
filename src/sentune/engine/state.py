"""What the engine keeps for an encoder, outside of its modules; and its run on packed tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from sentune.engine import attention, bert
from sentune.engine.copies import Copies
from sentune.engine.embedding import Buffers
from sentune.engine.overrides import Fast
from sentune.engine.tree import Watch, Way, keeps_nothing
from sentune.types import Features


class State:
    """Kept weights, memory for gradients, and what was seen of an encoder."""

    def __init__(self) -> None:
        self.copies = Copies()
        self.buffers: Buffers | None = None
        self.watch = Watch()
        # Of the whole model where it has a head: its modules are run as they are, hooks and all.
        self.head_watch = Watch(harmless="in_float32")

    def way_of(self, encoder: nn.Module) -> Way:
        """How the encoder may be run now."""
        return self.watch.way_of(encoder)

    def run_packed(self, encoder: Any, features: Features, *, layers: bool) -> list[Tensor]:
        """Token embeddings `(T, d)`; with `layers`, then also the input and those of each layer."""
        if not layers and self.way_of(encoder) == "function":
            return [bert.run(bert.of_modules(encoder), features, self.copies, self.buffers)]
        arguments = {
            "input_ids": features["input_ids"][None],
            "position_ids": features["position_ids"][None],
            "attention_mask": attention.no_mask(features["input_ids"]),
            "layout": features["layout"],
            "cu_seqlens": features["cu_seqlens"],
        }
        if "token_type_ids" in features:
            arguments["token_type_ids"] = features["token_type_ids"][None]
        # What is computed again for the gradient is so outside of this block, and must be the same.
        fast = nullcontext() if keeps_nothing(encoder) else Fast(self.copies, self.buffers)
        with fast:
            output = encoder(**arguments, return_dict=True, output_hidden_states=layers)
        return [x[0] for x in (output.last_hidden_state, *(output.hidden_states or ()))]

    def __reduce__(self) -> tuple[Any, ...]:  # a copy, or one for another process, begins empty
        return State, ()


@contextmanager
def keeping_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block the word tables of a model keep the memory of their gradients."""
    states = [state for module in model.modules() if (state := module.__dict__.get("_engine"))]
    for state in states:
        state.buffers = Buffers()
    try:
        yield
    finally:
        for state in states:
            state.buffers = None
