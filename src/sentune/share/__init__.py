"""Model cards, and models to the Hub."""
