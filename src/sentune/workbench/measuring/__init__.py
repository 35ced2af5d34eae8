"""What is measured of models on rows, and how sure a difference is."""
