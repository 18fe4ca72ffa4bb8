"""The static catalogue: built from the registry and the tables, written as one page."""
