"""Datasets and a loader for `model.fit`, as its scripts know them. Looked up on first use."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
