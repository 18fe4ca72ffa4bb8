"""Checks of assets: expectations, tables, days, intents."""
