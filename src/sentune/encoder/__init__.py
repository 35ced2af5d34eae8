"""The front room: a model that takes texts and gives embeddings."""
