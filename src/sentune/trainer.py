"""The address at which sentence-transformers has these names."""

from sentune.training.trainer import (
    SentenceTransformerTrainer,
)

__all__ = [
    "SentenceTransformerTrainer",
]
