"""Layers of an encoder exchanged for layers of our own, in place."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def exchanged(
    encoder: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]
) -> nn.Module:
    """The encoder with each of its layers of just this kind exchanged.

    Args:
        encoder: Changed in place; its weights and their names stay as they are.
        kind: Which layers; not those of its subclasses, which mean something of their own.
        make: A layer -> the one that takes its place.
    """
    for parent in list(encoder.modules()):
        for name, child in parent.named_children():
            if type(child) is kind:
                setattr(parent, name, make(child).train(child.training))
    return encoder
