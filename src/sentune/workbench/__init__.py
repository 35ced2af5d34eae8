"""From a file of text to a better model: look at the data, train, compare."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
