"""Exact search over embeddings: nearest entries, most similar pairs, groups."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
