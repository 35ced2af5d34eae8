"""The addresses at which sentence-transformers has names, listed in `addresses.txt`."""
