"""The modules a model is made of: tokens in, embeddings out. Looked up on first use."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
