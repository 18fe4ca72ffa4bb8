"""Dead letters of clicks and items: read them, and send those that are valid now back to their topic, in
order, once. Deletes nothing.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from feature_repo.contract.items.messages import decode_item
from feature_repo.contract.messages import ClickError, decode_click, format_time
from feature_repo.contract.settings import Settings
from streaming.clients import TOOL_TIMEOUT_MS, click_partitioner, client_options
from streaming.errors import StreamingError
from streaming.topics.ensure import MAX_MESSAGE_BYTES
from streaming.topics.foreign import header_map, whole_number
from streaming.topics.tails import read_between, reader_of

FOREIGN = "foreign"  # reason shown for a record that is no dead letter of one of our topics
SUPERSEDED = "superseded"  # why an item's letter is not sent back: the topic says something newer of it
# compacted topic beside the dead letters: which were sent back; written in one transaction with the click
LEDGER_SUFFIX = ".redriven"
_SHOWN = 80
_BATCH = 200  # letters a transaction
_READ_SECONDS = 30.0  # without any record
_TRANSACTION_MS = 60_000


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter: the original bytes, where they came from and why they were refused.

    A record that others wrote to the topic has the reason ``foreign``; topic, partition and offset are its
    own.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    failed_at: str
    key: bytes | None
    value: bytes | None

    @property
    def name(self) -> str:
        """Of the record that was refused."""
        return f"{self.topic}-{self.partition}@{self.offset}"

    def to_line(self) -> str:
        """Give one line for people."""
        value = (
            "(no value)"
            if self.value is None
            else repr(self.value[:_SHOWN])[2:-1] + (" ..." if len(self.value) > _SHOWN else "")
        )
        return f"{self.failed_at}  {self.name}  {self.reason}  {self.detail[:_SHOWN]}  | {value}"

    def to_json(self) -> str:
        """Give one JSON line; bytes that are not UTF-8 are written with replacement characters."""
        shown = {"key": _text(self.key), "value": _text(self.value), "bytes": len(self.value or b"")}
        return json.dumps(
            {
                **{
                    name: getattr(self, name)
                    for name in ("reason", "detail", "topic", "partition", "offset", "failed_at")
                },
                **shown,
            }
        )


@dataclass
class Redriven:
    """What a redrive did: sent back, refused again by reason, sent back earlier, and foreign records left
    out.
    """

    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    before: int = 0
    foreign: int = 0
    dry_run: bool = False

    def to_line(self) -> str:
        """Give one line for people."""
        again = ", ".join(f"{reason} {number}" for reason, number in sorted(self.refused.items())) or "none"
        sent = f"{'would send' if self.dry_run else 'sent'} {self.sent} back"
        return f"{sent}; still refused: {again}; sent back earlier: {self.before}; foreign: {self.foreign}"


def read(settings: Settings, *, reason: str | None = None, limit: int | None = None) -> Iterator[DeadLetter]:
    """Read dead letters, oldest first; one that a crash wrote twice is given once.

    Parameters
    ----------
    settings : Settings
        Broker and ``kafka.dead_letter_topic``.
    reason : str, optional
        Only these.
    limit : int, optional
        At most so many.

    Yields
    ------
    DeadLetter
        Up to the present end of the topic.

    Raises
    ------
    StreamingError
        The topic is not there, or the broker does not answer.
    """
    seen: set[str] = set()
    for record in sorted(
        _records(settings, settings.kafka.dead_letter_topic),
        key=lambda one: (one.timestamp, one.partition, one.offset),
    ):
        letter = letter_of(record, settings.kafka.clicks_topic, settings.kafka.items_topic)
        if letter.name in seen or (reason is not None and letter.reason != reason):
            continue
        if limit is not None and len(seen) >= limit:
            return
        seen.add(letter.name)
        yield letter


def redrive(
    settings: Settings, *, reason: str | None = None, rekey: bool = False, dry_run: bool = False
) -> Redriven:
    """Check dead letters by today's rules and send the valid ones back; an item's only where the topic has no
    later record of it.

    Parameters
    ----------
    settings : Settings
        Broker and topics.
    reason : str, optional
        Only these.
    rekey : bool
        Give those with a wrong key the key of their session id; their value stays as it is.
    dry_run : bool
        Send nothing.

    Returns
    -------
    Redriven
        Counts. A letter goes back at most once, however often and wherever this runs.

    Raises
    ------
    StreamingError
        Topics or broker not to be had.
    """
    from kafka.errors import KafkaError

    outcome = Redriven(dry_run=dry_run)
    ledger = _records(settings, settings.kafka.dead_letter_topic + LEDGER_SUFFIX, missing_is_empty=True)
    done = {record.key.decode(errors="replace") for record in ledger if record.key is not None}
    ready: list[tuple[DeadLetter, bytes | None]] = []
    for letter in read(settings, reason=reason):
        if letter.reason == FOREIGN:
            outcome.foreign += 1
            continue
        if letter.name in done:
            outcome.before += 1
            continue
        try:
            ready.append((letter, _valid_key(letter, rekey, settings.kafka.items_topic)))
        except ClickError as error:
            outcome.refused[error.reason] += 1
    ready = _latest(settings, ready, outcome)
    ready.sort(key=lambda pair: (pair[0].topic, pair[0].partition, pair[0].offset))
    try:
        if ready and not dry_run:
            _send(settings, ready)
    except KafkaError as error:
        raise StreamingError(
            f"dead letters cannot be sent back ({error}); what was sent is noted, run it again"
        ) from None
    outcome.sent = len(ready)
    return outcome


def _latest(
    settings: Settings, ready: list[tuple[DeadLetter, bytes | None]], outcome: Redriven
) -> list[tuple[DeadLetter, bytes | None]]:
    """Leave out letters of items of which the topic has a later record: sent back, they would be the newest
    word.
    """
    topic = settings.kafka.items_topic
    if not any(letter.topic == topic for letter, _ in ready):
        return ready
    last: dict[tuple[int, bytes | None], int] = {}
    for record in _records(settings, topic, missing_is_empty=True):
        last[record.partition, record.key] = record.offset
    kept = []
    for letter, key in ready:
        if letter.topic == topic and last.get((letter.partition, key), -1) > letter.offset:
            outcome.refused[SUPERSEDED] += 1
        else:
            kept.append((letter, key))
    return kept


def _valid_key(letter: DeadLetter, rekey: bool, items_topic: str) -> bytes | None:
    key, of_item = letter.key, letter.topic == items_topic
    if rekey and letter.reason == "wrong_key" and letter.value is not None:
        key = _own_key(letter.value, "item_id" if of_item else "session_id") or key
    if of_item:
        decode_item(letter.value, key)
        return key
    decode_click(letter.value, key, time.time_ns() // 1000)
    return key


def _own_key(value: bytes, field: str) -> bytes | None:
    try:
        fields = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    own = fields.get(field) if isinstance(fields, dict) else None
    return own.encode(errors="replace") if isinstance(own, str) else None


def _send(settings: Settings, ready: list[tuple[DeadLetter, bytes | None]]) -> None:
    from kafka import KafkaProducer

    ledger = settings.kafka.dead_letter_topic + LEDGER_SUFFIX
    _ensure_ledger(settings, ledger)
    # One id for all redrives: a second one that runs at the same time fences the first instead of doubling
    # its work.
    producer = KafkaProducer(
        **client_options(settings),
        transactional_id=f"{settings.kafka.dead_letter_topic}-redrive",
        acks="all",
        max_request_size=MAX_MESSAGE_BYTES,
        transaction_timeout_ms=_TRANSACTION_MS,
        **click_partitioner(settings),
    )
    try:
        producer.init_transactions()
        for start in range(0, len(ready), _BATCH):
            producer.begin_transaction()
            for letter, key in ready[start : start + _BATCH]:
                producer.send(letter.topic, letter.value, key, [("redrive_of", letter.name.encode())])
                producer.send(ledger, letter.failed_at.encode(), letter.name.encode())
            producer.flush()
            producer.commit_transaction()
    finally:
        producer.close(timeout=10)


def _ensure_ledger(settings: Settings, ledger: str) -> None:
    from kafka import KafkaAdminClient
    from kafka.errors import TopicAlreadyExistsError

    admin = KafkaAdminClient(**client_options(settings))
    try:
        options = {
            "num_partitions": 1,
            "replication_factor": settings.kafka.replication_factor,
            "configs": {"cleanup.policy": "compact"},
        }
        admin.create_topics({ledger: options}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        return
    finally:
        admin.close()


def _records(settings: Settings, topic: str, missing_is_empty: bool = False) -> Iterator[Any]:
    from kafka import TopicPartition
    from kafka.errors import KafkaError

    try:
        with reader_of(settings, bootstrap_timeout_ms=TOOL_TIMEOUT_MS) as reader:
            if topic not in reader.topics():
                if missing_is_empty:
                    return
                raise StreamingError(
                    f"topic '{topic}' does not exist; start the consumer, which makes it, or name another "
                    "by kafka.dead_letter_topic"
                )
            names = [
                TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())
            ]
            begins, ends = reader.beginning_offsets(names), reader.end_offsets(names)
            for batch in read_between(reader, begins, ends, _READ_SECONDS):
                yield from batch
    except KafkaError as error:
        raise StreamingError(f"topic '{topic}' cannot be read ({error}); is the broker running?") from None


def headers_of(
    error: ClickError, topic: str, partition: int, offset: int, failed_us: int
) -> list[tuple[str, bytes]]:
    """Give the headers of a letter, those that ``letter_of`` reads.

    Parameters
    ----------
    error : ClickError
        Why the record was refused.
    topic, partition, offset
        Where it stands.
    failed_us : int
        When it was refused, microseconds UTC.
    """
    words = {
        "reason": error.reason,
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "failed_at": format_time(failed_us),
        "detail": str(error),
    }
    return [(name, word.encode()) for name, word in words.items()]


def letter_of(record: Any, *topics: str) -> DeadLetter:
    """Read one record of the dead letter topic.

    Parameters
    ----------
    record : kafka ConsumerRecord
        As the client gives it.
    *topics : str
        Only their letters are ours.

    Returns
    -------
    DeadLetter
        With the reason ``foreign`` when a header is missing, has no value or is no number where one is due,
        or names another topic.
    """
    headers = header_map(record.headers)
    partition, offset = (whole_number(headers.get(name)) for name in ("partition", "offset"))
    text = {name: value.decode(errors="replace") for name, value in headers.items()}
    missing = [name for name in ("reason", "topic", "failed_at") if name not in text]
    if partition is not None and offset is not None and not missing and text["topic"] in topics:
        return DeadLetter(
            text["reason"],
            text.get("detail", ""),
            text["topic"],
            partition,
            offset,
            text["failed_at"],
            record.key,
            record.value,
        )
    missing += [name for name, number in (("partition", partition), ("offset", offset)) if number is None]
    detail = (
        f"no header {', '.join(missing)} of a dead letter"
        if missing
        else f"a letter of topic '{text['topic']}'"
    )
    return DeadLetter(
        FOREIGN,
        detail,
        record.topic,
        record.partition,
        record.offset,
        _written(record.timestamp),
        record.key,
        record.value,
    )


def _written(milliseconds: int) -> str:
    try:
        return format_time(milliseconds * 1000)
    except (ValueError, OverflowError, OSError):  # a sender may claim any time
        return f"{milliseconds} ms"


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", errors="replace")
