"""What can be done to rows of embeddings: compare, truncate, quantise, return."""
