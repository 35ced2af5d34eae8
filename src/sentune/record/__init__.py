"""What is known of a model and of a run, as plain data."""
