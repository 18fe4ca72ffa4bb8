"""The contract other teams read: Feast definitions, our stores, and the pure functions beneath them."""

from feature_repo import feast_import

feast_import.install()
