"""The address at which sentence-transformers has these names."""

from sentune.files.card import (
    SentenceTransformerModelCardData,
)

__all__ = [
    "SentenceTransformerModelCardData",
]
