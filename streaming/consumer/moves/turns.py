"""Who moves states after partitions were added: one process of the group at a time, the others wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import BOOTSTRAP_TIMEOUT_MS, client_options, finish_join, no_broker
from streaming.consumer.moves.group import group_client, layout_before, members
from streaming.consumer.moves.repartition import OTHERS_SECONDS, Drain, Moved, repartition
from streaming.topics import ensure as topics
from streaming.topics.offsets import commits_of

_LOOK_SECONDS, _SETTLE_SECONDS = 0.5, 2.0
_TURN_MS = 10_000  # after a kill -9 another one may go on this soon
_LONGEST_MS = 86_400_000  # it may take long to answer what waits; being slow must not make two of it


def follow(
    settings: Settings,
    drain: Drain,
    stopping: Callable[[], bool] = lambda: False,
    patience: float = OTHERS_SECONDS,
) -> Moved:
    """See that states are where their keys go: by moving them, or by waiting until another process has. One
    at a time does it.

    Parameters
    ----------
    settings : Settings
        See ``repartition``.
    drain : callable
        See ``repartition``.
    stopping : callable
        Asked now and then while another one moves; true gives up.
    patience : float
        Seconds in which the group's consumers must have noticed the new partitions and let go of theirs.

    Returns
    -------
    Moved
        What this process did; nothing where another one was faster.

    Raises
    ------
    StreamingError
        See ``repartition``.
    """
    while not stopping():
        if (moved := _nothing_left(settings)) is not None:
            return moved
        if members(settings, _turns(settings)):  # somebody moves them
            time.sleep(_LOOK_SECONDS)
            continue
        turn = _turn_taker(settings)
        try:
            if _gets_turn(turn, settings):
                return repartition(settings, drain, patience)
        finally:
            turn.close(autocommit=False, timeout_ms=2000)
    return Moved(0, 0, 0)


def _turns(settings: Settings) -> str:
    """Give the group in which whoever has the first partition of the clicks topic may move states."""
    return f"{settings.streaming.group}.repartition"


def _gets_turn(turn: Any, settings: Settings) -> bool:
    """Join, wait until all who came at the same time have their share, and see whether ours is the first."""
    turn.subscribe([settings.kafka.clicks_topic])
    began = time.monotonic()
    while time.monotonic() - began < _TURN_MS / 1000:
        turn.poll(timeout_ms=round(_LOOK_SECONDS * 1000))
        finish_join(turn)
        turn.pause(*turn.assignment())
        if turn.assignment() and time.monotonic() - began > _SETTLE_SECONDS:
            break
    return any(name.partition == 0 for name in turn.assignment())


def _turn_taker(settings: Settings) -> Any:
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    try:
        return KafkaConsumer(
            **client_options(settings),
            group_id=_turns(settings),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            max_poll_interval_ms=_LONGEST_MS,
            session_timeout_ms=_TURN_MS,
            heartbeat_interval_ms=_TURN_MS // 3,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
        )
    except KafkaError as error:
        raise no_broker("consumer", settings, error) from None


def _nothing_left(settings: Settings) -> Moved | None:
    """Look whether the states are where they should be."""
    now = topics.layout(settings)
    consumer = group_client(settings)
    try:
        commits = commits_of(consumer, settings.kafka.clicks_topic, range(now.partitions))
        before = layout_before(settings, now, [layout for _, layout in commits.values()])
    finally:
        consumer.close(autocommit=False)
    return (
        Moved(0, now.partitions, now.partitions)
        if before is None or before.partitions == now.partitions
        else None
    )
