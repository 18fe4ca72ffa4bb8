"""Requests, refusals, guarded operations and their document, over Starlette. Knows no route."""
