"""The contract other teams read: Feast definitions, our stores, and the pure functions beneath them."""
