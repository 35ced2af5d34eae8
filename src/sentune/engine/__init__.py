"""Encoders made fast from outside: packing, attention, products, dropout."""
