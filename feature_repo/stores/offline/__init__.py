"""The offline store: point-in-time joins on Delta tables."""
