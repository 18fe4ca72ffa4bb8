"""The HTTP side: recommendations, clicks, items, intents."""
