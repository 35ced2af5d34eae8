"""The loop that computes something for every item: source -> batches -> runner -> sink."""
