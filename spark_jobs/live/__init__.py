"""Batch jobs about the live half: replay of clicks, parity of features."""
