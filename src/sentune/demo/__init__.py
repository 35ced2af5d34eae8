"""The demo: trains a model to search the documentation of this Python."""
