"""From one session's answers and events to summed cases of every period and slice. Pure; run in Spark's
workers.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from feature_repo.contract.session import FoldConfig
from feature_repo.contract.spellings.event_types import canonical
from feature_repo.contract.tables import TIME
from model.evaluate.metrics import CUTOFFS
from model.evaluate.next_click import Event, Given, Place, Verdict, judge_session, whole_gains

IMPRESSION = "impression"
UNKNOWN = "unknown"
GAINS = tuple(f"gain_{number}" for number in range(2 * len(CUTOFFS)))
SUMMED = pa.schema(
    [
        ("period", pa.string()),
        ("start", TIME),
        ("day", pa.date32()),
        ("model_version", pa.string()),
        ("slice", pa.string()),
        ("value", pa.string()),
        ("answers", pa.int64()),
        ("cases", pa.int64()),
        *((name, pa.int64()) for name in GAINS),
    ]
)
Warm = Mapping[str, frozenset[str] | None]


class _Group(NamedTuple):
    """Where a case counts."""

    period: str
    start: datetime.datetime
    model_version: str
    slice: str
    value: str


def session_rows(session: Mapping[str, Any], config: FoldConfig, warm: Warm) -> list[dict[str, Any]]:
    """Judge one session's answers and sum them up.

    Parameters
    ----------
    session : mapping
        ``answers``: rows of `score_log` as structs with `partition`, `offset`, `arrival_us`, `newest_us`,
        `scored_at`, `recommended`, `scores`, `reason_sources`, `intent_source`, `model_version`,
        `click_count`; ``events``: structs with `partition`, `offset`, `arrival_us`, `time_us`, `item_id`,
        `event_type`.
    config : FoldConfig
        Gap, and which types of events are clicks.
    warm : mapping
        Model version to the items it was trained on; None = its folder is gone.

    Returns
    -------
    list of dict
        Rows of ``SUMMED``.
    """
    answers = session["answers"]
    given = [Given(_place(row), row["newest_us"], row["recommended"], row["scores"]) for row in answers]
    clicks, impressions = list[Event](), list[Event]()
    for row in session["events"] or ():
        event = Event(_place(row), row["item_id"], row["time_us"])
        if config.events.of(row["event_type"]).folded:
            clicks.append(event)
        elif canonical(row["event_type"]) == IMPRESSION:
            impressions.append(event)
    sums: dict[_Group, list[int]] = {}
    for row, verdict in zip(answers, judge_session(given, clicks, impressions, config.gap_us), strict=True):
        for name, value, rank in _slices(row, verdict, warm):
            gains = (0,) * len(GAINS) if rank is None else whole_gains(rank)
            added = (1, int(rank is not None), *gains)
            for group in _groups(row, name, value):
                total = sums.setdefault(group, [0] * len(added))
                for place, number in enumerate(added):
                    total[place] += number
    return [_row(group, total) for group, total in sums.items()]


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["partition"], row["offset"], row["arrival_us"])


def _groups(row: Mapping[str, Any], name: str, value: str) -> Iterator[_Group]:
    moment: datetime.datetime = row["scored_at"].astimezone(datetime.UTC)
    hour = moment.replace(minute=0, second=0, microsecond=0)
    yield _Group("hour", hour, row["model_version"], name, value)
    yield _Group("day", hour.replace(hour=0), row["model_version"], name, value)


def _slices(
    row: Mapping[str, Any], verdict: Verdict | None, warm: Warm
) -> Iterator[tuple[str, str, int | None]]:
    """Slice, value and rank of a case; the rank is None for an answer without a case, 0 for a miss."""
    if verdict is None:
        yield "all", "all", None
        return
    rank = verdict.rank
    yield "all", "all", rank
    yield "basis", verdict.basis, rank
    yield "intents", row["intent_source"], rank
    yield "session", "first click" if row["click_count"] == 1 else "later", rank
    known = warm.get(row["model_version"])
    yield "target", UNKNOWN if known is None else "warm" if verdict.target in known else "cold", rank
    sources = [*(row["reason_sources"] or ()), *[UNKNOWN] * len(row["recommended"])]
    hit = verdict.hit
    for source in {sources[place] or UNKNOWN: None for place in verdict.shown}:
        yield "reason", source, rank if hit is not None and (sources[hit] or UNKNOWN) == source else 0
    for place in range(1, len(verdict.shown) + 1):
        yield "position", str(place), rank if rank == place else 0


def _row(group: _Group, total: list[int]) -> dict[str, Any]:
    answers, cases, *gains = total
    return {
        **group._asdict(),
        "day": group.start.date(),
        "answers": answers,
        "cases": cases,
        **dict(zip(GAINS, gains, strict=True)),
    }
