"""Training: arguments, samplers, collator, trainer, fit. Looked up on first use."""

from sentune._lazy import front_door, need

need("accelerate", extra="train")  # the Trainer of transformers stands on it

__getattr__, __dir__, __all__ = front_door(__name__, __file__)
