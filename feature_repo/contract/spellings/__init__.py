"""Spellings of others: HTML entities, ids, names of columns in public data."""
