"""Independent oracle of the live half: plain Python over the clicks topic in offset order. Shares no rule
with the consumer but the written contract.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

GAP_US, KEPT = 600 * 1_000_000, 50  # the default settings: ten minutes, fifty items
ANEW = 1_000  # added to the partitions of a topic that was made anew
OTHER = "crc32-"  # begins the event ids of the producer with the other partitioner
REMEMBERED = 256  # event ids by which a session id knows a duplicate: the bound that docs/streaming.md states


@dataclass
class Session:
    """One session id, naively: all clicks of the current session in a list."""

    clicks: list[tuple[int, int, str]] = field(default_factory=list)  # time, arrival number, item
    newest: int = 0
    start: int = 0
    count: int = 0
    late: int = 0
    created: int = 0
    accepted: list[str] = field(default_factory=list)  # event ids, in order

    def click(self, number: int, event: str, item: str, time: int, arrival: int) -> bool:
        """Count a click; False for a duplicate."""
        if event in self.accepted[-REMEMBERED:]:
            return False
        self.accepted.append(event)
        self.created = max(arrival, self.created + 1)
        if not self.count or time - self.newest > GAP_US:
            self.clicks, self.newest, self.start, self.count, self.late = (
                [(time, number, item)],
                time,
                time,
                1,
                0,
            )
            return True
        self.late += time < self.newest
        if self.start - time > GAP_US:
            return True
        self.clicks = sorted([*self.clicks, (time, number, item)])
        self.newest, self.start, self.count = max(self.newest, time), min(self.start, time), self.count + 1
        return True

    def features(self) -> dict[str, Any]:
        """Give the features by their definitions."""
        kept = self.clicks[-KEPT:]
        items, times = [item for _, _, item in kept], [time for time, _, _ in kept]
        return {
            "items": items,
            "last_item": items[-1],
            "click_count": self.count,
            "distinct_items": len(set(items)),
            "repeat_share": (len(items) - len(set(items))) / len(items),
            "duration_seconds": (self.newest - self.start) / 1e6,
            "mean_gap_seconds": (times[-1] - times[0]) / (len(times) - 1) / 1e6 if len(times) > 1 else 0.0,
            "last_gap_seconds": (times[-1] - times[-2]) / 1e6 if len(times) > 1 else 0.0,
            "late_clicks": self.late,
            "session_start": self.start,
            "event_types": ["click"],  # none of these clicks says a type
            "event_counts": [self.count],
            "ended_items": [],
            "event_timestamp_us": self.newest,
            "created_us": self.created,
        }


def valid(value: bytes | None, key: bytes | None, broker_us: int) -> dict[str, Any] | None:
    """Give the click of a record, or None when the contract refuses it."""
    try:
        fields = json.loads((value or b"").decode("utf-8"))
        ids = [fields[name] for name in ("event_id", "session_id", "item_id")]
        time = fields["event_time"]
        time = round(datetime.fromisoformat(time).timestamp() * 1e6) if isinstance(time, str) else time * 1000
        good = (
            fields.get("schema_version", 1) == 1
            and all(isinstance(one, str) and one.strip() and len(one) <= 1024 for one in ids)
            and key == ids[1].encode()
            and datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1e6 <= time <= broker_us + 86_400_000_000
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return {"event_id": ids[0], "session_id": ids[1], "item_id": ids[2], "time": time} if good else None


class Grown(NamedTuple):
    """A number of partitions that the topic had, and from which offset of each on; not named = 0."""

    count: int
    since: dict[int, int]


@dataclass
class Truth:
    """What the topic says must have come out."""

    sessions: dict[str, Session]
    answered: dict[tuple[int, int], str]  # partition, offset -> event id
    poison: dict[tuple[int, int], tuple[bytes | None, bytes | None]]
    duplicates: int
    elsewhere: int = 0  # clicks on another partition than their key's, refused by name
    refused_wrongly: int = 0  # of them, those of the producer that has the right partitioner


def grown_of(text: str) -> list[Grown]:
    """Read the numbers of partitions that the consumers noted, oldest first."""
    return [
        Grown(one["count"], {int(partition): since for partition, since in one["since"].items()})
        for one in json.loads(text)["widths"]
    ]


def murmur2(key: bytes) -> int:
    """Hash a key as Kafka's Java client does; written from its definition, not shared with the consumer."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = 0x9747B28C ^ len(key)
    for at in range(0, len(key) - 3, 4):
        word = int.from_bytes(key[at : at + 4], "little") * m & mask
        word = (word ^ word >> 24) * m & mask
        hashed = hashed * m & mask ^ word
    rest = key[len(key) & ~3 :]
    if rest:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * m & mask
    hashed = (hashed ^ hashed >> 13) * m & mask
    return (hashed ^ hashed >> 15) & 0x7FFFFFFF


def truth(records: list[Any], grown: list[Grown] | None = None) -> Truth:
    """Work out the truth from all records of the clicks topic.

    Where the topic had other numbers of partitions, all that was sent by an older number is folded before the
    newer: a session goes on in another partition. Within a number the broker's clock is the order.
    """
    result = Truth(defaultdict(Session), {}, {}, 0)
    turns = grown or []
    turn = lambda record: sum(one.since.get(record.partition, 0) <= record.offset for one in turns)
    ordered = sorted(records, key=lambda one: (turn(one), one.timestamp, one.partition, one.offset))
    for number, record in enumerate(ordered):
        at = (record.partition, record.offset)
        click = valid(record.value, record.key, record.timestamp * 1000)
        if click is None:
            result.poison[at] = (record.key, record.value)
        elif grown and murmur2(record.key) % turns[turn(record) - 1].count != record.partition % ANEW:
            result.poison[at] = (record.key, record.value)
            result.elsewhere += 1
            result.refused_wrongly += not click["event_id"].startswith(OTHER)
        elif result.sessions[click["session_id"]].click(
            number, click["event_id"], click["item_id"], click["time"], record.timestamp * 1000
        ):
            result.answered[at] = click["event_id"]
        else:
            result.duplicates += 1
    return result


def moved_on(records: list[Any]) -> list[Any]:
    """Give the clicks of a topic that was made anew places of their own beside those of the one before."""
    return [record._replace(partition=record.partition + ANEW) for record in records]


def place(partition: int, record: Any, anew: bytes | None) -> int:
    """Give the partition that a message speaks of; ``anew`` is the id of the topic that was made anew."""
    return (
        partition + ANEW if anew is not None and dict(record.headers)["log"].startswith(anew) else partition
    )


def check_answers(expected: Truth, records: list[Any], anew: bytes | None = None) -> dict[str, int]:
    """Compare the recommendations topic: nothing missing, nothing extra, no event with two contents."""
    by_event: dict[str, set[bytes]] = defaultdict(set)
    sources: set[tuple[int, int]] = set()
    for record in records:
        answer = json.loads(record.value)
        by_event[answer["event_id"]].add(record.value)
        sources.add((place(answer["source"]["partition"], record, anew), answer["source"]["offset"]))
    wanted = set(expected.answered)
    return {
        "answers_wanted": len(wanted),
        "answer_records": len(records),
        "answers_missing": len(wanted - sources),
        "answers_extra": len(sources - wanted),
        "answers_contradicting": sum(len(contents) > 1 for contents in by_event.values()),
        "answers_repeated_identically": len(records) - sum(len(contents) for contents in by_event.values()),
    }


def check_letters(expected: Truth, records: list[Any], anew: bytes | None = None) -> dict[str, int]:
    """Compare the dead letters: every poison message there, with its bytes, and nothing else."""
    found: dict[tuple[int, int], tuple[bytes | None, bytes | None]] = {}
    for record in records:
        headers = dict(record.headers)
        found[(place(int(headers["partition"]), record, anew), int(headers["offset"]))] = (
            record.key,
            record.value,
        )
    wrong = sum(
        found[at] != (key, value) and not (key is None and value is None)
        for at, (key, value) in expected.poison.items()
        if at in found
    )
    return {
        "letters_wanted": len(expected.poison),
        "letters_missing": len(set(expected.poison) - set(found)),
        "letters_extra": len(set(found) - set(expected.poison)),
        "letters_with_other_bytes": wrong,
        "letters_repeated": len(records) - len(found),
    }


def check_features(expected: Truth, rows: dict[str, dict[str, Any] | None], name: str) -> dict[str, int]:
    """Compare features by session, exactly."""
    missing = sum(rows.get(session) is None for session in expected.sessions)
    wrong = sum(
        rows[s] != state.features() for s, state in expected.sessions.items() if rows.get(s) is not None
    )
    return {
        f"{name}_missing": missing,
        f"{name}_wrong": wrong,
        f"{name}_extra": len(set(rows) - set(expected.sessions)),
    }


def check_score_log(expected: Truth, folder: Path, anew_us: int | None = None) -> dict[str, int]:
    """Compare the score-log files: one row per answered click, none twice; from ``anew_us`` on clicks were
    those of the topic made anew.
    """
    import pyarrow as pa

    rows = []
    for file in sorted(folder.glob("*.arrow")):
        with pa.OSFile(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
        scored = table["scored_at"].cast(pa.int64()).to_pylist()
        places = [
            p + ANEW if anew_us is not None and at >= anew_us else p
            for p, at in zip(table["partition"].to_pylist(), scored, strict=True)
        ]
        rows += list(zip(places, table["offset"].to_pylist(), strict=True))
    wanted = set(expected.answered)
    return {
        "log_missing": len(wanted - set(rows)),
        "log_extra": len(set(rows) - wanted),
        "log_doubled": len(rows) - len(set(rows)),
    }
