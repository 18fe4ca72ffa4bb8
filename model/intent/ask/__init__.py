"""Asking a language model: local or over an endpoint, under a budget, each answer kept."""
