"""Files and hub datasets to columns: one row, the form of a dataset, and what is wrong with it."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
