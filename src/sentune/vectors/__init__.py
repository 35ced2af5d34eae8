"""What can be done to rows of embeddings: compare, cut, quantise, give out."""
