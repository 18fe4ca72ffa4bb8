"""The live half of the graph: replay of clicks, at new dates."""
