"""Whole corpora to embeddings: a shard of texts in, the shard of vectors of the same number out."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
