"""Intents asked near line: requests and the worker that answers them."""
