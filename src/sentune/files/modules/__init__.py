"""Reader and writer of each module."""
