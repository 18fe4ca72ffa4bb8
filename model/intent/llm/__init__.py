"""The local language model: chat form, weights, key-value cache, generation."""
