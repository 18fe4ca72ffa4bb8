"""Where to go on after a start, a crash or a rebalance, and what was already said. Decides; the consumer
acts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.errors import StateLostError

SOURCE_HEADER = "source"  # of every answer and dead letter: group/offset of the click it came from
_TAIL_RECORDS = (64, 5_000)  # how far back the end of an output topic is searched for our own last message
_READ_SECONDS = 20.0


class Plan(NamedTuple):
    """Where a partition goes on.

    Attributes
    ----------
    position : int
        First offset to read.
    answer_from : int
        Below it clicks are only folded: they were answered before.
    resend : bool
        Whether the outbox may hold messages that were not sent.
    """

    position: int
    answer_from: int
    resend: bool


def plan(
    name: str,
    *,
    stored: int | None,
    committed: int | None,
    answered: int,
    beginning: int,
    end: int,
    accept_loss: bool = False,
) -> Plan:
    """Decide where a partition goes on.

    Parameters
    ----------
    name : str
        Of the partition, for messages.
    stored : int or None
        Next offset of the local state; None = there is no local state.
    committed : int or None
        Next offset by the group's commit.
    answered : int
        Last offset that the recommendations topic answers for this group; -1 = none.
    beginning, end : int
        First offset the topic still holds, and the one after the last.
    accept_loss : bool
        Rebuild from what is left when the topic is trimmed.

    Returns
    -------
    Plan
        The local state wins where it is ahead. Where it is behind or missing, the topic is folded again from
        it, silently up to what was answered.

    Raises
    ------
    StateLostError
        The topic no longer holds what the state needs, or is another topic than the state's.

    Examples
    --------
    >>> plan("clicks-0", stored=12, committed=10, answered=11, beginning=0, end=20)
    Plan(position=12, answer_from=12, resend=True)
    >>> plan("clicks-0", stored=None, committed=10, answered=11, beginning=0, end=20)
    Plan(position=0, answer_from=12, resend=False)
    """
    known = committed or 0
    if max(stored or 0, known) > end:
        raise StateLostError(
            f"{name}: state or commit is at offset {max(stored or 0, known)}, but the topic ends at {end}: "
            "it was made anew or lost its end; delete the state folder and use another --group"
        )
    if stored is None:
        if known > 0 and beginning > 0 and not accept_loss:
            raise StateLostError(
                f"{name}: there is no local state, {known} clicks were folded before, and the topic holds "
                f"only those from {beginning}; restore the state folder from a backup, or start with "
                "--rebuild-from-rest to go on with what is left"
            )
        return Plan(beginning, max(known, answered + 1, beginning), False)
    if stored < beginning:
        if not accept_loss:
            raise StateLostError(
                f"{name}: state goes to offset {stored}, but the topic now begins at {beginning}: "
                f"{beginning - stored} clicks are lost; lengthen the topic's retention, and start with "
                "--rebuild-from-rest to go on with what is left"
            )
        return Plan(beginning, max(known, answered + 1, beginning), True)
    return Plan(stored, max(stored, known, answered + 1), stored > known)


def sent_through(settings: Settings, topic: str, partitions: Iterable[int], group: str) -> dict[int, int]:
    """Read from the end of an output topic up to which clicks offset this group's messages go.

    Parameters
    ----------
    settings : Settings
        Broker and security.
    topic : str
        ``recommendations`` or ``clicks.dlq``; its partition n holds what comes from clicks partition n, in
        offset order.
    partitions : iterable of int
        Which ones.
    group : str
        Whose messages count.

    Returns
    -------
    dict of int to int
        Partition to the offset; -1 where there is no message of this group near the end.
    """
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(
        **client_options(settings), group_id=None, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        result = dict.fromkeys(partitions, -1)
        for back in _TAIL_RECORDS:
            wanted = [TopicPartition(topic, partition) for partition, offset in result.items() if offset < 0]
            if wanted:
                result.update(_tails(reader, wanted, back, group.encode()))
        return result
    finally:
        reader.close()


def _tails(reader: Any, wanted: list[Any], back: int, group: bytes) -> dict[int, int]:
    reader.assign(wanted)
    begins, ends = reader.beginning_offsets(wanted), reader.end_offsets(wanted)
    for partition in wanted:
        reader.seek(partition, max(begins[partition], ends[partition] - back))
    found = dict.fromkeys((partition.partition for partition in wanted), -1)
    deadline = time.monotonic() + _READ_SECONDS
    while time.monotonic() < deadline and any(
        reader.position(partition) < ends[partition] for partition in wanted
    ):
        for partition, records in reader.poll(timeout_ms=200).items():
            for record in records:
                owner, _, offset = dict(record.headers).get(SOURCE_HEADER, b"").rpartition(b"/")
                if owner == group:
                    found[partition.partition] = max(found[partition.partition], int(offset))
    return found
