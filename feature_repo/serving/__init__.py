"""The feature server: online reads, tokens, nearest rows."""
