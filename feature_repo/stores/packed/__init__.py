"""The packed form of online rows: codec, keys and client. Knows nothing of Feast."""
