"""What the folder of a model says, without its weights."""
