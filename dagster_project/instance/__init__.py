"""Dagster's home, its services, its user interface and its messages."""
