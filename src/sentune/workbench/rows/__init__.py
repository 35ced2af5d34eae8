"""The rows of a run: read, told apart, in parts, and turned into other forms."""
