"""The file format: how models are kept in folders and on the Hub."""
