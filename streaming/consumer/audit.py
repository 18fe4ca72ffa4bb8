"""Reads what the consumer stored, for checks and tools. The stores must not be open in a consumer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feature_repo.contract import session
from feature_repo.contract.session import SessionState
from feature_repo.contract.settings import Settings
from streaming.consumer.state import PartitionStore


def stored_sessions(settings: Settings) -> Iterator[tuple[str, SessionState]]:
    """Give every session in the stores of the configured group and topic.

    Yields
    ------
    tuple of (str, SessionState)
        Session id and state.

    Raises
    ------
    StreamingError
        A consumer still holds a store.
    """
    folder = settings.state_dir / settings.streaming.group
    for path in sorted(folder.glob(f"{settings.kafka.clicks_topic}-*")):
        store = PartitionStore(path)
        try:
            yield from store.sessions()
        finally:
            store.close()


def stored_features(settings: Settings) -> dict[str, dict[str, Any] | None]:
    """Give the features of every stored session, with ``event_timestamp_us`` and ``created_us``, as the
    online store has them.
    """
    return {
        name: {
            **session.features(state),
            "event_timestamp_us": state.event_timestamp_us,
            "created_us": state.created_us,
        }
        for name, state in stored_sessions(settings)
    }
