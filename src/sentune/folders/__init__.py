"""One folder of a model, read as input that nobody has checked: paths, json, weights, code."""
