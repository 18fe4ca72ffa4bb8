"""From raw records to what is stored and sent: decode, dedupe, fold, score. Knows no Kafka client, so that it
can be tested as a function.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from feature_repo.contract import session
from feature_repo.contract.events.rules import event_type_of
from feature_repo.contract.messages import (
    ClickError,
    Recommendation,
    Source,
    decode_click,
    encode_recommendation,
    format_time,
)
from feature_repo.contract.session import FoldClick, FoldConfig, SessionState
from streaming.consumer import score_log
from streaming.consumer.quality import NextClicks
from streaming.consumer.records import Letter, Outbox
from streaming.consumer.recovery import EVERYTHING, Plan
from streaming.consumer.state import PartitionStore
from streaming.errors import BreakerError
from streaming.running import Judged
from streaming.serving.answers import Answer, Answerer
from streaming.topics.dead_letters import headers_of

log = logging.getLogger("intentstore.pipeline")
SAID_TYPES = 20  # a sender that makes types up must not fill the log
CheckKey = Callable[[bytes, int, int], object]


class RawRecord(NamedTuple):
    """One record as Kafka holds it; ``timestamp_us`` is the broker's clock, microseconds UTC."""

    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes | None


@dataclass
class PartitionBatch:
    """What a batch means to one partition, to be written by ``PartitionStore.write`` and then sent."""

    next_offset: int
    states: dict[str, SessionState] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=lambda: Outbox([], [], []))
    rows: list[tuple[int, score_log.Row]] = field(default_factory=list)
    features: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Outcome:
    """A whole batch: per partition, and what to count."""

    partitions: dict[int, PartitionBatch] = field(default_factory=dict)
    answered: int = 0
    duplicates: int = 0
    restored: int = 0
    # events that moved no session: by type, as the rules name it
    aside: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    intent_sources: Counter[str] = field(default_factory=Counter)
    newest_click_us: int = 0
    # answered: session, state, source of its intents
    sessions: list[tuple[str, SessionState, str]] = field(default_factory=list)
    # answers of before, by the clicks of this batch
    judged: list[Judged] = field(default_factory=list)


class _Folded(NamedTuple):
    """An accepted click that wants an answer: its record, ids, and the state right after it."""

    record: RawRecord
    event_id: str
    session_id: str
    item_id: str
    click_time_us: int
    state: SessionState
    folded: bool  # whether it is a click; an event that ends interest is answered too


class Breaker:
    """Stops the consumer when too large a share of the latest clicks is refused: then the sender is broken,
    not a click.

    Parameters
    ----------
    share : float
        More than this of a full window trips it; 1 never does.
    window : int
        Clicks looked at.
    """

    def __init__(self, share: float, window: int) -> None:
        self._share, self._latest, self._bad = share, deque[bool](maxlen=window), 0

    def count(self, refused: bool) -> None:
        """Count one click."""
        if len(self._latest) == self._latest.maxlen:
            self._bad -= self._latest[0]
        self._latest.append(refused)
        self._bad += refused

    def check(self) -> None:
        """Raise when the window is full and too bad.

        Raises
        ------
        BreakerError
            Names the share and the remedy.
        """
        if len(self._latest) == self._latest.maxlen and self._bad > self._share * len(self._latest):
            raise BreakerError(
                f"{self._bad} of the latest {len(self._latest)} clicks were refused, more than "
                f"streaming.dlq_breaker_share = {self._share}; look at `python -m streaming dlq list`, mend "
                "the sender (or raise the share), then start again"
            )


class Pipeline:
    """Processes batches.

    Parameters
    ----------
    topic : str
        Clicks topic, as it is told in answers and dead letters.
    config : FoldConfig
        The fold's rules.
    answerer : Answerer
        Gives the recommendations.
    breaker : Breaker
        Counts refused clicks.
    clock : callable
        Microseconds UTC now; told as ``scored_at`` and ``failed_at``, which the outbox keeps for a replay.
    on_stage : callable, optional
        Called with the name of each stage of a batch that ends: ``fold``, ``score``, ``encode``.
    """

    def __init__(
        self,
        topic: str,
        config: FoldConfig,
        answerer: Answerer,
        breaker: Breaker,
        clock: Callable[[], int],
        on_stage: Callable[[str], Any] = lambda stage: None,
    ) -> None:
        self._topic, self._config = topic, config
        self._answerer, self._breaker, self._clock, self._on_stage = answerer, breaker, clock, on_stage
        self._said: set[str | None] = set()  # types that no rule names, each told once
        self._next_clicks = NextClicks(config.gap_us)

    def process(
        self,
        records: Mapping[int, Sequence[RawRecord]],
        stores: Mapping[int, PartitionStore],
        plans: Mapping[int, Plan] | None = None,
        check_key: CheckKey = lambda key, partition, offset: None,
    ) -> Outcome:
        """Decode, fold and score one batch; writes and sends nothing.

        Parameters
        ----------
        records : mapping of int to sequence of RawRecord
            Partition to its records, in offset order.
        stores : mapping of int to PartitionStore
            Read only.
        plans : mapping of int to Plan, optional
            Records below ``answer_from``, and poison below ``letter_from``, were answered before the state
            was lost: they are folded, and nothing else.
        check_key : callable, optional
            Called with key, partition and offset of each click; raises ``ClickError`` where it stands on the
            wrong partition.

        Returns
        -------
        Outcome
            Answers of all partitions, scored in one call.
        """
        outcome, folded = Outcome(), []
        for partition, batch in records.items():
            folded += self._fold(
                partition,
                batch,
                stores[partition],
                (plans or {}).get(partition, EVERYTHING),
                check_key,
                outcome,
            )
        self._on_stage("fold")
        answers = self._answerer([one.state.items for one in folded], [one.state.ended for one in folded])
        self._on_stage("score")
        scored_at = self._clock()
        shown = format_time(scored_at)
        for one, answer in zip(folded, answers, strict=True):
            self._put(outcome.partitions[one.record.partition], one, answer, scored_at, shown)
            self._judge(one, answer, outcome)
            outcome.intent_sources[answer.intents.source] += 1
            outcome.sessions.append((one.session_id, one.state, answer.intents.source))
        outcome.answered = len(folded)
        self._on_stage("encode")
        return outcome

    def _judge(self, one: _Folded, answer: Answer, outcome: Outcome) -> None:
        if one.folded:
            judged = self._next_clicks.click(one.session_id, one.item_id, one.click_time_us)
            if judged is not None:
                outcome.judged.append(judged)
        self._next_clicks.answer(one.session_id, one.state.event_timestamp_us, answer)

    def check_breaker(self) -> None:
        """Raise ``BreakerError`` when too many were refused; called after the batch is stored and sent."""
        self._breaker.check()

    def _fold(
        self,
        partition: int,
        records: Sequence[RawRecord],
        store: PartitionStore,
        plan: Plan,
        check_key: CheckKey,
        outcome: Outcome,
    ) -> list[_Folded]:
        mine = PartitionBatch(records[-1].offset + 1)
        outcome.partitions[partition] = mine
        clicks = []
        for record in records:
            try:
                click = decode_click(record.value, record.key, record.timestamp_us)
                check_key(record.key or b"", partition, record.offset)
            except ClickError as error:
                if record.offset >= plan.letter_from:
                    outcome.refused[error.reason] += 1
                    mine.outbox.letters.append(self._letter(record, error))
                    self._breaker.count(True)
                continue
            answers = record.offset >= plan.answer_from
            clicks.append((record, click, answers))
            if answers:
                self._breaker.count(False)
        states = store.states({click.session_id for _, click, _ in clicks})
        folded: list[_Folded] = []
        for record, click, answers in clicks:
            before, event_type = states[click.session_id], event_type_of(click.extra)
            state = session.apply(
                before,
                FoldClick(click.event_id, click.item_id, click.event_time, record.timestamp_us, event_type),
                self._config,
            )
            if state is before:
                outcome.duplicates += 1
                continue
            states[click.session_id] = mine.states[click.session_id] = state
            if not state.moved_since(before):
                self._count_aside(event_type, answers, outcome)
            elif answers:
                ids, is_click = (click.event_id, click.session_id, click.item_id), self._is_click(event_type)
                folded.append(_Folded(record, *ids, click.event_time, state, is_click))
            else:
                outcome.restored += 1
            outcome.newest_click_us = max(outcome.newest_click_us, click.event_time)
        mine.outbox.sessions.extend(name for name, state in mine.states.items() if state.count)
        self._answerer.popularity.count([one.item_id for one in folded])
        return folded

    def _is_click(self, event_type: str | None) -> bool:
        return self._config.events.of(event_type).folded

    def _count_aside(self, event_type: str | None, answers: bool, outcome: Outcome) -> None:
        if not answers:
            outcome.restored += 1
            return
        rule = self._config.events.of(event_type)
        outcome.aside[rule.name] += 1
        if not rule.named and event_type not in self._said and len(self._said) < SAID_TYPES:
            self._said.add(event_type)
            log.warning(
                "events of type %r are named by no rule: kept and counted, not folded; name the type in "
                "session.event_types",
                str(event_type)[:60],
            )

    def _put(self, batch: PartitionBatch, one: _Folded, answer: Answer, scored_at: int, shown: str) -> None:
        record = one.record
        message = Recommendation(
            event_id=one.event_id,
            session_id=one.session_id,
            items=answer.items,
            intents=answer.intents,
            model_version=answer.model_version,
            source=Source(self._topic, record.partition, record.offset),
            click_time=format_time(one.click_time_us),
            scored_at=shown,
        )
        batch.outbox.answers.append((record.offset, one.session_id.encode(), encode_recommendation(message)))
        source, ids = (
            (self._topic, record.partition, record.offset),
            (one.event_id, one.session_id, one.item_id),
        )
        features = batch.features[one.session_id] = session.features(one.state)
        batch.rows.append(
            (
                record.offset,
                score_log.row_of(source, ids, one.state, features, answer, (one.click_time_us, scored_at)),
            )
        )

    def _letter(self, record: RawRecord, error: ClickError) -> Letter:
        headers = headers_of(error, self._topic, record.partition, record.offset, self._clock())
        return Letter(record.offset, record.key, record.value, headers)
