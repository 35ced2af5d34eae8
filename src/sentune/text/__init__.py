"""Text -> tokens -> batches. Nothing here needs a neural network."""
