"""What answers were worth, counted from the raw records of the topics alone: no table and no code of ours.
Slow and plain on purpose.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime


def _us(text):
    if isinstance(text, (int, float)):
        return int(text) * 1000  # the tests send milliseconds
    delta = datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def read(clicks, refused):
    """Events of a topic in their order: (offset, session, item, time, type); repeated ids and refused records
    are left out."""
    known, events = set(), []
    for partition, offset, value in sorted(clicks):
        if (partition, offset) in refused:
            continue
        body = json.loads(value)
        if body["event_id"] in known:
            continue
        known.add(body["event_id"])
        events.append(
            (
                partition,
                offset,
                body["session_id"],
                body["item_id"],
                _us(body["event_time"]),
                body.get("event_type"),
            )
        )
    return events


def count(clicks, answers, refused, gap_us):
    """Judge every answer by brute force.

    Parameters
    ----------
    clicks : list of (partition, offset, bytes)
    answers : list of bytes
        Records of the topic of recommendations; an answer that was sent twice counts once.
    refused : set of (partition, offset)
    gap_us : int

    Returns
    -------
    dict
        (hour as text, model version) to ``answers``, ``cases``, ``ranks`` (0 = miss), sorted.
    """
    events = read(clicks, refused)
    once = {}
    for value in answers:
        body = json.loads(value)
        once[body["source"]["partition"], body["source"]["offset"]] = body
    found = defaultdict(lambda: {"answers": 0, "cases": 0, "ranks": []})
    for (_, offset), body in once.items():
        mine = [one for one in events if one[2] == body["session_id"]]
        views = [one for one in mine if one[5] in (None, "click", "view")]
        # the newest click that the answer knew; a session lies on one partition
        newest = max(one[4] for one in views if one[1] <= offset)
        hour = datetime.fromisoformat(body["scored_at"].replace("Z", "+00:00")).strftime("%Y-%m-%dT%H")
        cell = found[hour, body["model_version"]]
        cell["answers"] += 1
        later = [one for one in views if one[1] > offset and one[4] >= newest]
        if not later:
            continue
        after = min(later, key=lambda one: (one[4], one[1]))
        if after[4] - newest > gap_us:
            continue
        items = [item["item_id"] for item in body["items"]]
        scores = [item["score"] for item in body["items"]]
        shown = list(range(len(items)))
        seen = [one for one in mine if one[5] == "impression"]
        if seen:
            there = {one[3] for one in seen if newest <= one[4] <= after[4]}
            shown = [place for place in shown if items[place] in there]
            if not shown:
                continue
        rank = 0
        for at, place in enumerate(shown):
            if items[place] == after[3]:
                rank = max(
                    n + 1 for n, other in enumerate(shown) if n >= at and scores[other] == scores[place]
                )
        cell["cases"] += 1
        cell["ranks"].append(rank if rank <= 20 else 0)
    return {key: {**cell, "ranks": sorted(cell["ranks"])} for key, cell in found.items()}
