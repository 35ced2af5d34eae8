"""The address at which sentence-transformers has these names."""

from sentune.training.collate import (
    SentenceTransformerDataCollator,
)

__all__ = [
    "SentenceTransformerDataCollator",
]
