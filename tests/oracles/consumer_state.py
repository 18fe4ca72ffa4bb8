"""Reads what the consumer stored, for checks and tools. The stores must not be open in a consumer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from feature_repo.contract import session
from feature_repo.contract.session import SessionState
from feature_repo.contract.settings import Settings
from streaming.consumer.state import PartitionStore


def stored_sessions(settings: Settings, folders: Sequence[Path] = ()) -> Iterator[tuple[str, SessionState]]:
    """Give every session in the stores of the configured group and topic.

    Parameters
    ----------
    settings : Settings
        Group, topic and state folder.
    folders : sequence of Path
        State folders of several consumers, instead of the configured one; the store that is furthest counts
        for each partition.

    Yields
    ------
    tuple of (str, SessionState)
        Session id and state.

    Raises
    ------
    StreamingError
        A consumer still holds a store.
    """
    furthest: dict[str, tuple[int, Path]] = {}
    for folder in folders or (settings.state_dir,):
        for path in sorted((folder / settings.streaming.group).glob(f"{settings.kafka.clicks_topic}-*")):
            store = PartitionStore(path)
            at = (store.next_offset or 0, path)
            store.close()
            furthest[path.name] = max(furthest.get(path.name, at), at)
    for _, path in furthest.values():
        store = PartitionStore(path)
        try:
            yield from store.sessions()
        finally:
            store.close()


def stored_features(settings: Settings, folders: Sequence[Path] = ()) -> dict[str, dict[str, Any] | None]:
    """Give the features of every stored session, with ``event_timestamp_us`` and ``created_us``, as the
    online store has them.
    """
    return {
        name: {
            **session.features(state),
            **session.event_features(state),
            "event_timestamp_us": state.event_timestamp_us,
            "created_us": state.created_us,
        }
        for name, state in stored_sessions(settings, folders)
    }
