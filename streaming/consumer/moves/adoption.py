"""What happens to partitions that come: their stores are matched with the log and the group, what was left
unsent goes out, and each is given its plan.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.consumer import recovery
from streaming.consumer.moves import snapshots
from streaming.consumer.records import Marks, Outbox
from streaming.consumer.recovery import Plan, Sent
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.sinks import KafkaSink
from streaming.consumer.state import PartitionStore
from streaming.metrics import ConsumerMetrics
from streaming.topics import ensure as topics
from streaming.topics import layout as layouts
from streaming.topics.layout import Layout
from streaming.topics.offsets import Commit, commits_of, offsets_of

log = logging.getLogger("intentstore.partitions")
_DECLARE_MS = 5_000  # longer than a commit takes on a busy machine; then the partition is taken over anew


def group_layout(settings: Settings, consumer: Any, accept_loss: bool = False) -> Layout:
    """Read by which layout the group works, and that the topic still is the one of its commits; needs no
    membership.

    Raises
    ------
    StateLostError, StateMovedError
        See ``layout.of_group``.
    StreamingError
        The topic cannot be read.
    """
    topic = settings.kafka.clicks_topic
    now = topics.layout(settings)
    commits = commits_of(consumer, topic, range(now.partitions))
    return layouts.of_group(topic, now, [one.layout for one in commits.values()], accept_loss)


class Adoption:
    """Takes stores over, for one set of Kafka clients.

    Parameters
    ----------
    settings : Settings
        Topics and group.
    layout : Layout
        By which the group works, see ``layout.of_group``.
    score_log : ScoreLog
        Gets the rows that a crash left in a store.
    metrics : ConsumerMetrics
        Counts what is sent again.
    accept_loss : bool
        Go on with what is left of a log.
    drains : bool
        Whether the layout is one of the past, that is brought to its end.
    """

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        score_log: ScoreLog,
        metrics: ConsumerMetrics,
        accept_loss: bool,
        drains: bool,
    ) -> None:
        self.drains = drains
        self._settings, self.layout, self._score_log, self._metrics, self._accept_loss = (
            settings,
            layout,
            score_log,
            metrics,
            accept_loss,
        )
        self._topic, self._group = settings.kafka.clicks_topic, settings.streaming.group

    # In this order; a crash after any step is repaired by doing all of it again:
    #   1 read the group's commits   2 drop states of an older layout, and take those that were moved here   3
    #                                read the ends of the output topics
    #   4 read the log's ends, plan   5 send what was left unsent   6 score-log rows   7 next offset, log and
    #                                 what is being restored in one write   8 say in the group by which layout
    #                                 we work, where nobody has: before the first answer goes out
    # 4 stands behind 3: an answer that is seen must not lie beyond the end that is seen.
    def take(
        self, consumer: Any, opened: Mapping[int, PartitionStore], sink: KafkaSink
    ) -> tuple[dict[int, Plan], list[tuple[int, Outbox]]]:
        """Bring stores to where they go on.

        Parameters
        ----------
        consumer : KafkaConsumer
            Of the group.
        opened : mapping of int to PartitionStore
            Those that came.
        sink : KafkaSink
            For what was left unsent.

        Returns
        -------
        tuple of (dict of int to Plan, list of (int, Outbox))
            Plans, and the partitions whose live features must be written again.

        Raises
        ------
        StateLostError, StateMovedError
            See ``recovery.plan`` and ``layout``.
        SendError
            The broker did not take what was left unsent.
        KafkaError
            The group does not take our commit just now.
        """
        if max(opened) >= self.layout.partitions:
            layouts.check_partitions(self._topic, self.layout.partitions, max(opened) + 1)
        commits = commits_of(consumer, self._topic, opened)
        for partition, store in opened.items():
            self._match(partition, store, commits[partition])
        logs = {partition: self._log(store, commits[partition]) for partition, store in opened.items()}
        legacy = [
            partition
            for partition, store in opened.items()
            if store.marks is None and commits[partition].layout is None
        ]
        sent = recovery.sent_through(
            self._settings, {partition: one.log for partition, one in logs.items()}, self._group, legacy
        )
        plans = self._plans(consumer, opened, commits, logs, sent)
        left = self._resend(opened, plans, sent, logs, sink)
        for partition, store in opened.items():
            self._drop_rows(partition, store, sent[partition].answers)
            self._begin(partition, store, plans[partition], logs[partition], sink)
        self._declare(consumer, opened, commits)
        return plans, left

    def _match(self, partition: int, store: PartitionStore, commit: Commit) -> None:
        """See that a store's session ids have their places by this layout."""
        mine = store.marks.layout if store.marks is not None else None
        if (
            mine is not None
            and mine.topic_id == self.layout.topic_id
            and mine.partitions != self.layout.partitions
        ):
            settled = commit.layout is not None and (commit.layout.topic_id, commit.layout.partitions) == (
                self.layout.topic_id,
                self.layout.partitions,
            )
            if not settled:
                layouts.check_partitions(self._topic, mine.partitions, self.layout.partitions)
            self._drop_rows(partition, store, (store.next_offset or 0) - 1)
            self._score_log.adopt(partition, store)
            self._score_log.roll(partition, store)
            store.clear()
            log.info(
                "%s-%d: state of %d partitions is dropped, the group goes by another number",
                self._topic,
                partition,
                mine.partitions,
            )
        if self.layout.moved and store.next_offset is None:
            cut = (
                commit.layout.cut
                if commit.layout is not None and commit.layout.topic_id == self.layout.topic_id
                else 0
            )
            snapshots.load(self._settings, partition, self.layout, store, cut)

    def _log(self, store: PartitionStore, commit: Commit) -> Layout:
        """Give the log of a partition: the topic as it is, after as many accepted losses as store or commit
        know of.
        """
        known = [
            one
            for one in (commit.layout, store.marks.layout if store.marks else None)
            if one is not None and one.topic_id == self.layout.topic_id
        ]
        return Layout(
            self.layout.topic_id,
            self.layout.partitions,
            max((one.cut for one in known), default=0),
            self.layout.moved,
        )

    def _plans(
        self,
        consumer: Any,
        opened: Mapping[int, PartitionStore],
        commits: Mapping[int, Commit],
        logs: Mapping[int, Layout],
        sent: Mapping[int, Sent],
    ) -> dict[int, Plan]:
        from kafka import TopicPartition

        names = {partition: TopicPartition(self._topic, partition) for partition in opened}
        begins, ends = (
            consumer.beginning_offsets(list(names.values())),
            consumer.end_offsets(list(names.values())),
        )
        plans = {}
        for partition, store in opened.items():
            name, here, commit, marks = (
                f"{self._topic}-{partition}",
                logs[partition],
                commits[partition],
                store.marks,
            )
            foreign = marks is not None and not marks.layout.same_log(here)
            if foreign and not self._accept_loss:
                raise layouts.made_anew(name, "its state is")
            begin = begins[names[partition]]
            plans[partition] = recovery.plan(
                name,
                stored=begin if foreign else store.next_offset,
                sent=sent[partition],
                beginning=begin,
                end=ends[names[partition]],
                committed=commit.offset if commit.layout is None or commit.layout.same_log(here) else None,
                marks=(marks.answer_from, marks.letter_from) if marks is not None and not foreign else (0, 0),
                accept_loss=self._accept_loss,
            )
            log.info("%s comes: %s", name, plans[partition])
        return plans

    def _resend(
        self,
        opened: Mapping[int, PartitionStore],
        plans: Mapping[int, Plan],
        sent: Mapping[int, Sent],
        logs: Mapping[int, Layout],
        sink: KafkaSink,
    ) -> list[tuple[int, Outbox]]:
        ours = [
            p for p, store in opened.items() if store.marks is None or store.marks.layout.same_log(logs[p])
        ]
        left = [(partition, opened[partition].outbox()) for partition in ours if plans[partition].resend]
        if not any(outbox.answers or outbox.letters for _, outbox in left):
            return left
        sink.logs.update({partition: logs[partition].log for partition, _ in left})
        sink.begin()
        number = sum(sink.send(partition, outbox, *sent[partition]) for partition, outbox in left)
        sink.flush()
        if sink.transactional:
            sink.commit({}, None)
        self._metrics.resent.inc(number)
        log.info("sent %d messages that a broken-off batch had left", number)
        return left

    def _drop_rows(self, partition: int, store: PartitionStore, through: int) -> None:
        """Forget score-log rows of answers that another consumer gave in our place: its own rows tell what
        was said.
        """
        rows = {offset for offset, _ in store.rows()}
        mine = {offset: value for offset, _, value in store.outbox().answers if offset in rows}
        if store.marks is not None and mine:
            others = recovery.answered_otherwise(
                self._settings, partition, store.marks.layout.log, self._group, mine, through
            )
            store.drop_rows_at(others)

    def _begin(
        self, partition: int, store: PartitionStore, plan: Plan, here: Layout, sink: KafkaSink
    ) -> None:
        layout = Layout(here.topic_id, here.partitions, here.cut + plan.cut, here.moved)
        other = store.marks is not None and not store.marks.layout.same_log(layout)
        self._score_log.adopt(partition, store)
        if other:
            self._score_log.roll(partition, store)  # its offsets will come again
            log.warning(
                "%s-%d goes on in another log from offset %d on; loss is accepted",
                self._topic,
                partition,
                plan.position,
            )
        store.begin(plan.position, Marks(layout, plan.answer_from, plan.letter_from), forget_outbox=other)
        sink.logs[partition] = layout.log

    def _declare(
        self, consumer: Any, opened: Mapping[int, PartitionStore], commits: Mapping[int, Commit]
    ) -> None:
        """Commit the layout of partitions whose commit does not say it, without going back.

        A group that answered and died before its first commit would be taken for a new one, by whoever has
        not its state folder, after partitions were added or the topic was made anew.
        """
        mine = {
            partition: store.marks.layout
            for partition, store in opened.items()
            if store.marks is not None and store.marks.layout != commits[partition].layout
        }
        if not mine or self.drains:
            return
        offsets = {partition: opened[partition].next_offset or 0 for partition in mine}
        for partition, (offset, layout) in commits.items():
            if partition in mine and (layout is None or layout.same_log(mine[partition])):
                offsets[partition] = max(offsets[partition], offset or 0)
        consumer.commit(offsets_of(self._topic, offsets, mine), timeout_ms=_DECLARE_MS)
