"""The assets, checks and sensors that run and watch the whole system."""
