"""Loaded models and what they answer; used by consumer and HTTP side alike."""
