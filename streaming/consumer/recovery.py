"""Where to go on after a start, a crash or a rebalance, and what was already said. Decides;
``streaming.consumer.moves.adoption`` acts.

What a changed number of partitions means for stored state is decided by
``streaming.topics.layout.check_partitions``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from feature_repo.contract.settings import Settings
from streaming.errors import StateLostError
from streaming.topics.foreign import header_map, origin_of
from streaming.topics.tails import read_between, reader_of

log = logging.getLogger("intentstore.partitions")
SOURCE_HEADER = "source"  # of every answer and dead letter: group/offset of the click it came from
LOG_HEADER = "log"  # and the log whose offset that is, see ``Layout.log``
_TAIL_RECORDS = (8, 64, 5_000)  # how far back the end of an output topic is searched for our own last message
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
    letter_from : int
        As ``answer_from`` for dead letters: the two topics are written side by side, and a crash may leave
        one behind the other.
    cut : bool
        Whether the log lost its end and a person accepted it: its offsets are given a second time from here
        on.
    """

    position: int
    answer_from: int
    resend: bool
    letter_from: int
    cut: bool = False


EVERYTHING = Plan(0, 0, False, 0)  # of a partition whose clicks are all to be answered


class Sent(NamedTuple):
    """Last offsets that the output topics hold an answer and a dead letter for, of this group and log; -1 =
    none.
    """

    answers: int = -1
    letters: int = -1


def plan(
    name: str,
    *,
    stored: int | None,
    committed: int | None,
    sent: Sent,
    beginning: int,
    end: int,
    marks: tuple[int, int] = (0, 0),
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
    sent : Sent
        Last answer and dead letter of this group.
    beginning, end : int
        First offset the topic still holds, and the one after the last.
    marks : tuple of (int, int)
        ``answer_from`` and ``letter_from`` of the plan before, by which the local state was being restored.
    accept_loss : bool
        Go on with what is left when the topic is trimmed, or lost its end.

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
    >>> plan("clicks-0", stored=12, committed=10, sent=Sent(11), beginning=0, end=20)
    Plan(position=12, answer_from=12, resend=True, letter_from=12, cut=False)
    >>> plan("clicks-0", stored=None, committed=10, sent=Sent(11, 3), beginning=0, end=20)
    Plan(position=0, answer_from=12, resend=False, letter_from=10, cut=False)
    """
    known = committed or 0
    # so far the group has come, by this or another consumer
    before = max(known, sent.answers + 1, sent.letters + 1, *marks)
    reached = max(before, stored or 0)
    if reached > end and not accept_loss:
        raise StateLostError(
            f"{name}: state, commit or answers are at offset {reached}, but the topic ends at {end}: it was "
            "made anew or lost its end; start with --accept-loss to go on at its end"
        )
    if stored is None and before > 0 and beginning > 0 and not accept_loss:
        raise StateLostError(
            f"{name}: there is no local state, {before} clicks were folded before, and the topic holds only "
            f"those from {beginning}; restore the state folder from a backup, or start with --accept-loss "
            "to go on with what is left"
        )
    if stored is not None and stored < beginning and not accept_loss:
        raise StateLostError(
            f"{name}: state goes to offset {stored}, but the topic now begins at {beginning}: "
            f"{beginning - stored} clicks are lost; lengthen the topic's retention, and start with "
            "--accept-loss to go on with what is left"
        )
    position = beginning if stored is None or stored < beginning else min(stored, end)
    if reached > end:
        return Plan(position, end, False, end, True)
    answered, lettered = max(known, sent.answers + 1, marks[0]), max(known, sent.letters + 1, marks[1])
    return Plan(
        position, max(position, answered), stored is not None and stored > known, max(position, lettered)
    )


def may_commit(position: int, answer_from: int, letter_from: int) -> bool:
    """Whether a position may be committed: not while clicks below the group's commit are folded again, so
    that the commit never goes back.
    """
    return position >= max(answer_from, letter_from)


def sent_through(
    settings: Settings, logs: Mapping[int, bytes], group: str, legacy: Collection[int] = ()
) -> dict[int, Sent]:
    """Read from the ends of both output topics up to which clicks offset this group's messages go.

    Parameters
    ----------
    settings : Settings
        Broker, security and names of the topics; partition n of ``recommendations`` and ``clicks.dlq`` holds
        what comes from clicks partition n, in offset order.
    logs : mapping of int to bytes
        The partitions, and the log whose offsets count, see ``Layout.log``.
    group : str
        Whose messages count.
    legacy : collection of int
        Partitions where messages of older versions, which name no log, count too.

    Returns
    -------
    dict of int to Sent
        By partition; -1 where there is no message of this group near the end.

    Raises
    ------
    KafkaTimeoutError
        The ends cannot be read: nothing may be answered on a guess.
    """
    kafka, ours = settings.kafka, _Ours(logs, group.encode(), legacy)
    with reader_of(settings) as reader:
        answers, letters = (
            _ends(reader, topic, ours) for topic in (kafka.recommendations_topic, kafka.dead_letter_topic)
        )
    return {partition: Sent(answers[partition], letters[partition]) for partition in logs}


def answered_otherwise(
    settings: Settings, partition: int, log: bytes, group: str, answers: Mapping[int, bytes], through: int
) -> set[int]:
    """Find answers that another consumer gave while the one that stored its own could not send them.

    Parameters
    ----------
    settings : Settings
        Broker and topics.
    partition : int
        Of the clicks.
    log : bytes
        Whose offsets count.
    group : str
        Whose messages count.
    answers : mapping of int to bytes
        Clicks offset to the answer that was stored for it.
    through : int
        Last offset that has an answer.

    Returns
    -------
    set of int
        Offsets whose answer on the topic has other bytes.
    """
    from kafka import TopicPartition

    doubtful = {offset for offset in answers if offset <= through}
    if not doubtful:
        return set()
    ours, name = (
        _Ours({partition: log}, group.encode(), (partition,)),
        TopicPartition(settings.kafka.recommendations_topic, partition),
    )
    # one answer an offset at most, and transaction markers between them
    back = 2 * (through - min(doubtful) + 1) + _TAIL_RECORDS[0]
    seen: dict[int, bytes] = {}
    with reader_of(settings) as reader:
        while True:
            whole = _read_back(
                reader, [name], back, lambda record: seen.setdefault(ours.offset(record), record.value)
            )
            if whole or min((offset for offset in seen if offset >= 0), default=through) <= min(doubtful):
                return {offset for offset in doubtful if offset in seen and seen[offset] != answers[offset]}
            back *= 4


class _Ours(NamedTuple):
    """Which messages of an output topic count."""

    logs: Mapping[int, bytes]
    group: bytes
    legacy: Collection[int]

    def offset(self, record: Any) -> int:
        """Give the clicks offset that a message speaks for; -1 where it is another group's, another log's or
        no message of ours at all.
        """
        origin = origin_of(record.headers, SOURCE_HEADER)
        of = header_map(record.headers).get(LOG_HEADER)
        mine = of == self.logs[record.partition] or (of is None and record.partition in self.legacy)
        return origin.offset if origin is not None and mine and origin.group == self.group else -1


def _ends(reader: Any, topic: str, ours: _Ours) -> dict[int, int]:
    from kafka import TopicPartition

    result = dict.fromkeys(ours.logs, -1)
    for back in _TAIL_RECORDS:
        wanted = [TopicPartition(topic, partition) for partition, offset in result.items() if offset < 0]
        if wanted:
            result.update(_tails(reader, wanted, back, ours))
    return result


def _tails(reader: Any, wanted: list[Any], back: int, ours: _Ours) -> dict[int, int]:
    last = dict.fromkeys((name.partition for name in wanted), -1)
    foreign = 0

    def look(record: Any) -> None:
        nonlocal foreign
        foreign += origin_of(record.headers, SOURCE_HEADER) is None
        last[record.partition] = max(last[record.partition], ours.offset(record))

    _read_back(reader, wanted, back, look)
    if foreign:
        log.warning(
            "topic '%s': %d records near its end are foreign and were passed over", wanted[0].topic, foreign
        )
    return last


def _read_back(reader: Any, wanted: list[Any], back: int, look: Callable[[Any], object]) -> bool:
    """Show the last so many records of some partitions of a topic; gives whether that was everything."""
    begins, ends = reader.beginning_offsets(wanted), reader.end_offsets(wanted)
    starts = {name: max(begins[name], ends[name] - back) for name in wanted}
    for records in read_between(reader, starts, ends, _READ_SECONDS):
        for record in records:
            look(record)
    return bool(starts == begins)
