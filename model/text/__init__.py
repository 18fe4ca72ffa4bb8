"""Texts as vectors, and what is near to what."""
