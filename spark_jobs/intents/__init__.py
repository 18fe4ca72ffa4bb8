"""Intents of sessions in batch: asked, cached, grounded, published, reported."""
