"""The address at which sentence-transformers has these names."""

from sentune.similarity import (
    SimilarityFunction,
)

__all__ = [
    "SimilarityFunction",
]
