"""Candidates, their trainings, and what is kept of them."""
