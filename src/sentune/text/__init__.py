"""Text -> tokens -> batches. Nothing here knows of a neural network."""
