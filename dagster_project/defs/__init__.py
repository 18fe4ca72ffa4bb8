"""The parts of the graph, one module a subject."""
