"""Models that people use: texts in, embeddings or scores out."""
