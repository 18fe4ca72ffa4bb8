"""Weights, ML-100K and jars, pinned by hash. `python -m feature_repo.contract.assets` fetches them."""
