"""Topics: made, watched, their lag, dead letters."""
