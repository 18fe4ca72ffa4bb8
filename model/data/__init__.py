"""Sequences, splits and catalogues, and where they are read from."""
