"""Sentence embeddings: train, fine-tune, evaluate, share and run them.

The names below are looked up on first use, so that `import sentune` stays instant.
"""

from sentune._lazy import front_door
from sentune._version import __version__ as __version__
from sentune.compat.addresses import register

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
register(__name__)
