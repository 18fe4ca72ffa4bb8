"""What the lake holds of a day."""
