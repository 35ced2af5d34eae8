"""From a file of text to a better model: look at the data, train, compare."""

import sys
from types import ModuleType
from typing import Any

from sentune._lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__, __file__)


class _Package(ModuleType):
    """Importing the file `inspect.py` leaves the function `inspect` under its name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
