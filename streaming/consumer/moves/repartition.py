"""Moves the states of sessions to where their keys go after partitions were added: drains by the old number,
writes all states, then one commit switches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from feature_repo.contract.key_partitions import note_move
from feature_repo.contract.settings import Settings
from streaming.clients import BOOTSTRAP_TIMEOUT_MS, client_options, no_broker
from streaming.consumer.commits import offsets_of
from streaming.consumer.moves import snapshots
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.topics import ensure as topics
from streaming.topics import layout as layouts
from streaming.topics.fence import Fence, next_count, place_of
from streaming.topics.layout import Layout

log = logging.getLogger("intentstore.repartition")
# consumers notice new partitions sooner, and a stopped static member stays in the group for a session
# time-out
OTHERS_SECONDS = 120.0
_LOOK_SECONDS, _SETTLE_SECONDS = 0.5, 2.0
_TURN_MS = 10_000  # after a kill -9 another one may go on this soon
_LONGEST_MS = 86_400_000  # it may take long to answer what waits; being slow must not make two of it
Drain = Callable[[Layout, Fence], None]


class Moved(NamedTuple):
    """What was done: sessions moved, from how many partitions to how many; ``before`` = ``now`` when there
    was nothing to do.
    """

    sessions: int
    before: int
    now: int

    def to_line(self) -> str:
        """Say it in one line."""
        if self.before == self.now:
            return f"nothing to move: the states were made with {self.now} partitions, as the topic has"
        return f"moved {self.sessions} sessions from {self.before} to {self.now} partitions"


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
        if _members(settings, _turns(settings)):  # somebody moves them
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
    consumer = _client(settings)
    try:
        commits = _commits(consumer, settings.kafka.clicks_topic, now.partitions)
        before = _before(settings, now, [layout for _, layout in commits.values()])
    finally:
        consumer.close(autocommit=False)
    return (
        Moved(0, now.partitions, now.partitions)
        if before is None or before.partitions == now.partitions
        else None
    )


# In this order; broken off after any step, running it again does all of it again and leaves one result:
#   1 nobody else is in the group   2 read, fold, answer and commit all that was sent by the old number of
#                                   partitions
#   3 write every session's state to the topic of moved states, at its new partition, and behind them the
#   offsets where the partitions go on 4 commit these offsets with the new layout: one request, taken as a
#   whole or not at all
# Should two ever do it at once, the transactions of 2 let only the later one answer, and 4 is refused while
# anybody is in the group. Before 4 no consumer starts; after it each of them, on any machine, fills its
# stores from that topic.
def repartition(settings: Settings, drain: Drain, patience: float) -> Moved:
    """Move states, dead letters and answers that were not sent, exactly once; to be called by ``follow``, one
    process at a time.

    Parameters
    ----------
    settings : Settings
        Broker, topic, group and state folder. A partition whose store is not in this folder is folded from
        the topic.
    drain : callable
        Runs a consumer by this layout up to the fence, or to the end.
    patience : float
        Seconds to wait until nobody of the group runs.

    Returns
    -------
    Moved
        What was done.

    Raises
    ------
    StreamingError
        Consumers of the group run, or the broker does not take something; running it again is harmless.
    """
    now, number, first = topics.layout(settings), 0, None
    consumer = _client(settings)
    try:
        while True:  # once, unless the topic grew twice
            commits = _commits(consumer, settings.kafka.clicks_topic, now.partitions)
            before = _before(settings, now, [layout for _, layout in commits.values()])
            if before is None or before.partitions == now.partitions:
                break
            first = first or before.partitions
            _alone(settings, patience)
            after = next_count(
                place_of(settings.kafka),
                before.partitions,
                now.partitions,
                _unread(settings, {p: offset for p, (offset, _) in commits.items()}),
            )
            fence = Fence(place_of(settings.kafka), before.partitions, *sorted({after, now.partitions}))
            drain(before, fence)
            number = _switch(
                settings,
                consumer,
                Layout(now.topic_id, after, 0, True),
                fence,
                {p: layout for p, (_, layout) in commits.items()},
                patience,
            )
            log.warning("%d sessions are moved from %d to %d partitions", number, before.partitions, after)
    finally:
        consumer.close(autocommit=False)
    return Moved(number, first or now.partitions, now.partitions)


def _switch(
    settings: Settings,
    consumer: Any,
    target: Layout,
    fence: Fence,
    commits: Mapping[int, Layout | None],
    patience: float,
) -> int:
    """Write the states and commit the new layout; gives the number of sessions."""
    begins = consumer.beginning_offsets(
        [_name(settings, partition) for partition in range(fence.before, target.partitions)]
    )
    positions = {**fence.reached, **{name.partition: offset for name, offset in begins.items()}}
    number = snapshots.write(settings, target, _states(settings, fence.before, target.partitions), positions)
    cuts = {
        partition: msgspec.structs.replace(target, cut=_cut(commits, partition, target))
        for partition in positions
    }
    _alone(settings, patience)
    note_move(settings.kafka, settings.home, target.partitions, positions)
    consumer.commit(offsets_of(settings.kafka.clicks_topic, positions, cuts))
    return number


def _unread(settings: Settings, committed: Mapping[int, int | None]) -> Iterator[tuple[int, int, bytes]]:
    """Give time, partition and key of every click that waits."""
    from kafka import KafkaConsumer
    from kafka.errors import KafkaTimeoutError

    reader = KafkaConsumer(
        **client_options(settings), group_id=None, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        names = [_name(settings, partition) for partition in committed]
        reader.assign(names)
        begins, ends = reader.beginning_offsets(names), reader.end_offsets(names)
        for name in names:
            reader.seek(name, max(committed[name.partition] or 0, begins[name]))
        moved = time.monotonic()
        while any(reader.position(name) < ends[name] for name in names):
            polled = reader.poll(timeout_ms=200)
            moved = time.monotonic() if polled else moved
            if time.monotonic() - moved > OTHERS_SECONDS:
                raise KafkaTimeoutError(f"topic '{settings.kafka.clicks_topic}' cannot be read")
            for records in polled.values():
                yield from (
                    (record.timestamp, record.partition, record.key)
                    for record in records
                    if record.key is not None
                )
    finally:
        reader.close()


def _client(settings: Settings) -> Any:
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    try:
        return KafkaConsumer(
            **client_options(settings),
            group_id=settings.streaming.group,
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
    except KafkaError as error:
        raise no_broker("consumer", settings, error) from None


def _name(settings: Settings, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(settings.kafka.clicks_topic, partition)


def _commits(consumer: Any, topic: str, partitions: int) -> dict[int, tuple[int | None, Layout | None]]:
    from kafka import TopicPartition

    found = {
        partition: consumer.committed(TopicPartition(topic, partition), metadata=True)
        for partition in range(partitions)
    }
    return {
        partition: (one.offset, layouts.decode(one.metadata)) if one is not None else (None, None)
        for partition, one in found.items()
    }


def _folder(settings: Settings, partition: int) -> Any:
    return settings.state_dir / settings.streaming.group / f"{settings.kafka.clicks_topic}-{partition}"


def _before(settings: Settings, now: Layout, commits: list[Layout | None]) -> Layout | None:
    """Give the layout of the states: by the group's commits, or where there are none by the stores of this
    machine.
    """
    known = [one for one in commits if one is not None]
    if not known:
        for partition in range(now.partitions):
            if _folder(settings, partition).is_dir():
                store = PartitionStore(_folder(settings, partition))
                known += [store.marks.layout] if store.marks is not None else []
                store.close()
    if any(one.topic_id != now.topic_id for one in known):
        raise layouts.made_anew(f"topic '{settings.kafka.clicks_topic}'", "the group's state is")
    count = max((one.partitions for one in known), default=now.partitions)
    return (
        Layout(now.topic_id, count, 0, any(one.moved for one in known if one.partitions == count))
        if known
        else None
    )


def _cut(commits: Mapping[int, Layout | None], partition: int, now: Layout) -> int:
    known = commits[partition]
    return known.cut if known is not None and known.topic_id == now.topic_id else 0


def _alone(settings: Settings, patience: float) -> None:
    """See that nobody of the group runs.

    Raises
    ------
    StreamingError
        Somebody does, for longer than a consumer that was stopped counts as one.
    """
    deadline = time.monotonic() + patience
    while members := _members(settings, settings.streaming.group):
        if time.monotonic() > deadline:
            raise StreamingError(
                f"group '{settings.streaming.group}' has {members} running consumers; stop them all, then "
                "run it again"
            )
        time.sleep(_LOOK_SECONDS)


def _members(settings: Settings, group: str) -> int:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        with KafkaAdminClient(**client_options(settings)) as admin:
            return len(admin.describe_groups([group])[group]["members"])
    except KafkaError as error:
        raise StreamingError(f"group '{group}' cannot be read ({error}); is the broker running?") from None


def _states(settings: Settings, before: int, now: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Give every session of the old stores with its new partition. A session that has state on a wrong
    partition, too, comes from its own one last.
    """
    home = place_of(settings.kafka)
    for own in (False, True):
        for partition in range(before):
            store = PartitionStore(_folder(settings, partition))
            try:
                for session_id, state in store.encoded_sessions():
                    if (home(session_id, before) == partition) == own:
                        yield home(session_id, now), session_id, state
            finally:
                store.close()
