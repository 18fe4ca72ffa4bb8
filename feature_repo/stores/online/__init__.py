"""The online store as Feast calls it."""
