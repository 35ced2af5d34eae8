"""The addresses at which sentence-transformers has names: here, and for code of models.

The package names what is above it by strings alone, so that every layer may use it.
"""
