"""The consumer: from a click to a recommendation, exactly once."""
