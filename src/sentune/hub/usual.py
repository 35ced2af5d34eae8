"""The model that is taken where none is named."""

from __future__ import annotations

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
