"""The record of a training run or of an evaluation -> one HTML page to show around."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
