"""A search over texts on disk: by meaning, by words, or by both."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
