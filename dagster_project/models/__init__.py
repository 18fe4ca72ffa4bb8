"""Training, candidates, gates and promotion of models."""
