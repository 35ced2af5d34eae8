"""The addresses at which sentence-transformers has names: here, for code of models, as an alias.

The package names what is above it by strings alone, so that every layer may use it.
"""

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
