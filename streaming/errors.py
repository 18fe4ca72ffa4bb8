"""Errors that end a streaming command with one line."""

from __future__ import annotations


class StreamingError(RuntimeError):
    """Something the consumer or a tool of it cannot go on with; the text names the thing, the value and the
    remedy.
    """


class BrokerAwayError(StreamingError):
    """No broker answers; it may come back."""


class StateLostError(StreamingError):
    """State cannot be rebuilt because the topic no longer holds what it needs."""


class StateMovedError(StreamingError):
    """The topic has another number of partitions than the state was made with, so session ids have other
    places.
    """


class BreakerError(StreamingError):
    """Too large a share of the latest clicks was refused; somebody should look before more are."""


class StuckError(RuntimeError):
    """A partition has records, and yet none come; new Kafka clients help."""
