"""Moves the states of sessions to where their keys go after partitions were added: drains by the old number,
writes all states, then one commit switches.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from feature_repo.contract.key_partitions import note_move
from feature_repo.contract.settings import Settings
from streaming.consumer.moves import snapshots
from streaming.consumer.moves.group import group_client, layout_before, members, store_folder
from streaming.consumer.moves.unread import survey
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.topics import ensure as topics
from streaming.topics.fence import Fence, place_of
from streaming.topics.layout import Layout
from streaming.topics.offsets import commits_of, offsets_of

log = logging.getLogger("intentstore.repartition")
# consumers notice new partitions sooner, and a stopped static member stays in the group for a session
# time-out
OTHERS_SECONDS = 120.0
_LOOK_SECONDS = 0.5
# gives ``Consumer.totals``; ends early, with ``fence.outdated``, where the topic grows meanwhile
Drain = Callable[[Layout, Fence], Mapping[str, int]]


class Moved(NamedTuple):
    """What was done.

    Attributes
    ----------
    sessions : int
        Sessions that were moved.
    before, now : int
        From how many partitions to how many; the same when there was nothing to do.
    drained : mapping of str to int
        What became of the clicks that waited, see ``Consumer.totals``.
    """

    sessions: int
    before: int
    now: int
    drained: Mapping[str, int] = MappingProxyType({})

    def to_line(self) -> str:
        """Say it in one line."""
        if self.before == self.now:
            return f"nothing to move: the states were made with {self.now} partitions, as the topic has"
        waited = f"{self.drained.get('answered', 0)} clicks that waited were answered"
        return f"moved {self.sessions} sessions from {self.before} to {self.now} partitions; {waited}"


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
    number, first, drained = 0, None, Counter[str]()
    consumer = group_client(settings)
    try:
        while True:  # once, unless the topic grew twice, or grows meanwhile
            now = topics.layout(settings)
            commits = commits_of(consumer, settings.kafka.clicks_topic, range(now.partitions))
            before = layout_before(settings, now, [layout for _, layout in commits.values()])
            if before is None or before.partitions == now.partitions:
                break
            first = first or before.partitions
            _alone(settings, patience)
            fence = survey(
                settings, before.partitions, now.partitions, {p: at for p, (at, _) in commits.items()}
            )
            if topics.layout(settings) != now:
                continue  # what was looked at may have been sent by a number that is not known
            drained.update(drain(before, fence))
            if fence.outdated:
                continue  # what was read until then is stored and committed
            after = fence.widths.after
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
    return Moved(number, first or now.partitions, now.partitions, drained)


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
        [_name(settings, partition) for partition in range(fence.widths.before, target.partitions)]
    )
    positions = {**fence.reached, **{name.partition: offset for name, offset in begins.items()}}
    number = snapshots.write(
        settings, target, _states(settings, fence.widths.before, target.partitions), positions
    )
    cuts = {
        partition: msgspec.structs.replace(target, cut=_cut(commits, partition, target))
        for partition in positions
    }
    _alone(settings, patience)
    note_move(settings.kafka, settings.home, target.topic_id, target.partitions, positions)
    consumer.commit(offsets_of(settings.kafka.clicks_topic, positions, cuts))
    return number


def _name(settings: Settings, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(settings.kafka.clicks_topic, partition)


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
    while running := members(settings, settings.streaming.group):
        if time.monotonic() > deadline:
            raise StreamingError(
                f"group '{settings.streaming.group}' has {running} running consumers; stop them all, then "
                "run it again"
            )
        time.sleep(_LOOK_SECONDS)


def _states(settings: Settings, before: int, now: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Give every session of the old stores with its new partition. A session that has state on a wrong
    partition, too, comes from its own one last.
    """
    home = place_of(settings.kafka)
    for own in (False, True):
        for partition in range(before):
            store = PartitionStore(store_folder(settings, partition))
            try:
                for session_id, state in store.encoded_sessions():
                    if (home(session_id, before) == partition) == own:
                        yield home(session_id, now), session_id, state
            finally:
                store.close()
