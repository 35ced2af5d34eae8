"""Small functions under the names they have elsewhere, each looked up where it lives."""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
