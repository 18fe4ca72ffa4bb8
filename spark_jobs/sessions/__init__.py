"""Sessions: cut, features, prompts, training cases."""
