"""The demo: a model learns to search the documentation of this Python."""
