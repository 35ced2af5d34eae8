"""The Hugging Face Hub: downloads."""
